"""Calls the greeter through the gateway by gRPC: `python client.py [GATEWAY] [NAME]`."""

import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent / "build"))
import greeter_pb2
import greeter_pb2_grpc


def main():
    gateway = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"
    name = sys.argv[2] if len(sys.argv) > 2 else "Ada"
    with grpc.insecure_channel(gateway) as channel:
        greeter = greeter_pb2_grpc.GreeterStub(channel)
        print(greeter.SayHello(greeter_pb2.SayHelloRequest(name=name), timeout=5).message)
        for answer in greeter.CountDown(greeter_pb2.CountDownRequest(**{"from": 3}), timeout=5):
            print(answer.left)


if __name__ == "__main__":
    main()
