"""Asks for the health of the services behind a gateway, by grpcio over TLS: tls_grpc.py ADDRESS FOLDER [mutual]"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def read(name):
    with open(f"{sys.argv[2]}/{name}", "rb") as file:
        return file.read()


own = (read("client.key"), read("client.crt")) if sys.argv[3:] == ["mutual"] else (None, None)
credentials = grpc.ssl_channel_credentials(read("ca.pem"), *own)
with grpc.secure_channel(sys.argv[1], credentials) as channel:
    for _ in range(100):
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
