"""The quick start's service in Python with grpcio: `python service.py [ADDRESS]`. See ../README.md."""

import sys
from concurrent import futures
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent / "build"))
import greeter_pb2
import greeter_pb2_grpc


class Greeter(greeter_pb2_grpc.GreeterServicer):
    def SayHello(self, request, context):
        if not request.name:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "name must not be empty")
        return greeter_pb2.SayHelloResponse(message=f"Hello, {request.name}!")

    def CountDown(self, request, context):
        # "from" is a word of Python's own.
        start = getattr(request, "from")
        if not 1 <= start <= 100:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "from must be 1 to 100")
        for left in range(start, 0, -1):
            yield greeter_pb2.CountDownResponse(left=left)


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    greeter_pb2_grpc.add_GreeterServicer_to_server(Greeter(), server)
    port = server.add_insecure_port(address)
    server.start()
    print(f"greeter serves on {address.rsplit(':', 1)[0]}:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
