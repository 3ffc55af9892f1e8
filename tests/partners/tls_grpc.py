"""Calls a service behind a gateway, by grpcio over TLS: tls_grpc.py ADDRESS FOLDER [mutual]"""

import sys

import grpc

# EmployeeService.GetEmployee with employee_id = 1, as bytes: no compiled messages are needed.
METHOD, REQUEST = "/ringway.demo.employee.v1.EmployeeService/GetEmployee", b"\x08\x01"


def read(name):
    with open(f"{sys.argv[2]}/{name}", "rb") as file:
        return file.read()


own = (read("client.key"), read("client.crt")) if sys.argv[3:] == ["mutual"] else (None, None)
credentials = grpc.ssl_channel_credentials(read("ca.pem"), *own)
with grpc.secure_channel(sys.argv[1], credentials) as channel:
    call = channel.unary_unary(METHOD)
    answers = [call(REQUEST, timeout=10) for _ in range(100)]
    print(len([answer for answer in answers if answer]), "answers")
