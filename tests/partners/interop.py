"""gRPC's interoperability cases with grpcio at both ends: interop.py serve ADDRESS | interop.py call ADDRESS

The names are those of grpc/doc/interop-test-descriptions.md. Both ends are made of proto/grpc/testing; where its
compiled messages lie has to be on PYTHONPATH.
"""

import itertools
import sys
import threading
import time
from concurrent import futures

import grpc
from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc

INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
LARGE_REQUEST, LARGE_RESPONSE = 271_828, 314_159
REQUESTS, RESPONSES = (27_182, 8, 1_828, 45_904), (31_415, 9, 2_653, 58_979)
CASE_MAX = 10


def payload(size):
    return messages_pb2.Payload(body=bytes(size))


class Service(test_pb2_grpc.TestServiceServicer):
    """Does as it is asked, and notes cancelled calls."""

    def __init__(self):
        self.cancelled = 0

    def begin(self, context):
        sent = dict(context.invocation_metadata())
        if INITIAL in sent:
            context.send_initial_metadata([(INITIAL, sent[INITIAL])])
        if TRAILING in sent:
            context.set_trailing_metadata([(TRAILING, sent[TRAILING])])

    def end(self, request, context):
        if request.HasField("response_status"):
            context.set_code(request.response_status.code)
            context.set_details(request.response_status.message)

    def EmptyCall(self, request, context):
        self.begin(context)
        return empty_pb2.Empty()

    def UnaryCall(self, request, context):
        self.begin(context)
        if request.HasField("response_compressed"):
            wanted = grpc.Compression.Gzip if request.response_compressed.value else grpc.Compression.NoCompression
            context.set_compression(wanted)
        self.end(request, context)
        return messages_pb2.SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request, context):
        self.begin(context)
        yield from self.answers(request, context)

    def StreamingInputCall(self, requests, context):
        self.begin(context)
        total = sum(len(request.payload.body) for request in requests)
        return messages_pb2.StreamingInputCallResponse(aggregated_payload_size=total)

    def FullDuplexCall(self, requests, context):
        self.begin(context)
        for request in requests:
            yield from self.answers(request, context)

    def answers(self, request, context):
        for wanted in request.response_parameters:
            if wanted.interval_us:
                time.sleep(wanted.interval_us / 1e6)
            yield messages_pb2.StreamingOutputCallResponse(payload=payload(wanted.size))
        self.end(request, context)


def serve(address):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    test_pb2_grpc.add_TestServiceServicer_to_server(Service(), server)
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0)


def failure(code, call):
    """The error that a call ends with, which has to have this code."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() is code, error
        return error
    raise AssertionError(f"the call succeeded; {code} was wanted")


def simple(request=LARGE_REQUEST, response=LARGE_RESPONSE, **more):
    return messages_pb2.SimpleRequest(payload=payload(request), response_size=response, **more)


def ping(request, response, **more):
    wanted = [messages_pb2.ResponseParameters(size=response, **more)]
    return messages_pb2.StreamingOutputCallRequest(payload=payload(request), response_parameters=wanted)


def empty_unary(stub):
    assert stub.EmptyCall(empty_pb2.Empty(), timeout=CASE_MAX) == empty_pb2.Empty()


def large_unary(stub, **options):
    answer = stub.UnaryCall(simple(), timeout=CASE_MAX, **options)
    assert len(answer.payload.body) == LARGE_RESPONSE


def client_compressed_unary(stub):
    large_unary(stub, compression=grpc.Compression.Gzip)


def server_compressed_unary(stub):
    for value in (True, False):
        request = simple(response_compressed=messages_pb2.BoolValue(value=value))
        answer, call = stub.UnaryCall.with_call(request, timeout=CASE_MAX)
        assert len(answer.payload.body) == LARGE_RESPONSE and call.code() is grpc.StatusCode.OK


def client_streaming(stub):
    requests = (messages_pb2.StreamingInputCallRequest(payload=payload(size)) for size in REQUESTS)
    assert stub.StreamingInputCall(requests, timeout=CASE_MAX).aggregated_payload_size == sum(REQUESTS)


def server_streaming(stub):
    wanted = [messages_pb2.ResponseParameters(size=size) for size in RESPONSES]
    request = messages_pb2.StreamingOutputCallRequest(response_parameters=wanted)
    sizes = [len(answer.payload.body) for answer in stub.StreamingOutputCall(request, timeout=CASE_MAX)]
    assert sizes == list(RESPONSES), sizes


def ping_pong(stub):
    turn, turns = threading.Semaphore(1), []

    def requests():
        for request, response in zip(REQUESTS, RESPONSES):
            turn.acquire()
            yield ping(request, response)

    for answer in stub.FullDuplexCall(requests(), timeout=CASE_MAX):
        turns.append(len(answer.payload.body))
        turn.release()
    assert turns == list(RESPONSES), turns


def empty_stream(stub):
    assert list(stub.FullDuplexCall(iter(()), timeout=CASE_MAX)) == []


def cancel_after_begin(stub):
    blocked = threading.Event()
    requests = (blocked.wait(CASE_MAX) and None for _ in itertools.count())
    call = stub.StreamingInputCall.future(requests, timeout=CASE_MAX)
    call.cancel()
    assert call.cancelled() and call.code() is grpc.StatusCode.CANCELLED
    blocked.set()


def cancel_after_first_response(stub):
    done = threading.Event()

    def requests():
        yield ping(REQUESTS[0], RESPONSES[0])
        done.wait(CASE_MAX)

    call = stub.FullDuplexCall(requests(), timeout=CASE_MAX)
    assert len(next(call).payload.body) == RESPONSES[0]
    call.cancel()
    failure(grpc.StatusCode.CANCELLED, lambda: next(call))
    done.set()


def timeout_on_sleeping_server(stub):
    slow = ping(REQUESTS[0], RESPONSES[0], interval_us=2_000_000)
    call = stub.FullDuplexCall(iter([slow]), timeout=0.1)
    failure(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: next(call))


def custom_metadata(stub):
    sent = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\x0a\x0b\x0a\x0b\x0a\x0b"))

    def check(call):
        assert dict(call.initial_metadata())[INITIAL] == sent[0][1], call.initial_metadata()
        assert dict(call.trailing_metadata())[TRAILING] == sent[1][1], call.trailing_metadata()

    answer, call = stub.UnaryCall.with_call(simple(), metadata=sent, timeout=CASE_MAX)
    assert len(answer.payload.body) == LARGE_RESPONSE
    check(call)
    call = stub.FullDuplexCall(iter([ping(LARGE_REQUEST, LARGE_RESPONSE)]), metadata=sent, timeout=CASE_MAX)
    assert len(list(call)) == 1
    check(call)


def status(stub, message):
    wanted = messages_pb2.EchoStatus(code=2, message=message)
    error = failure(grpc.StatusCode.UNKNOWN, lambda: stub.UnaryCall(
        messages_pb2.SimpleRequest(response_status=wanted), timeout=CASE_MAX))
    assert error.details() == message, error.details()
    request = messages_pb2.StreamingOutputCallRequest(response_status=wanted)
    error = failure(grpc.StatusCode.UNKNOWN, lambda: list(stub.FullDuplexCall(iter([request]), timeout=CASE_MAX)))
    assert error.details() == message, error.details()


def status_code_and_message(stub):
    status(stub, "test status message")


def special_status_message(stub):
    status(stub, "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n")


def unimplemented_method(stub):
    failure(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.UnimplementedCall(empty_pb2.Empty(), timeout=CASE_MAX))


def unimplemented_service(stub):
    failure(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.other.UnimplementedCall(empty_pb2.Empty(), timeout=CASE_MAX))


CASES = (
    empty_unary, large_unary, client_compressed_unary, server_compressed_unary, client_streaming, server_streaming,
    ping_pong, empty_stream, cancel_after_begin, cancel_after_first_response, timeout_on_sleeping_server,
    custom_metadata, status_code_and_message, special_status_message, unimplemented_method, unimplemented_service,
)


def call(address):
    channel = grpc.insecure_channel(address)
    stub = test_pb2_grpc.TestServiceStub(channel)
    stub.other = test_pb2_grpc.UnimplementedServiceStub(channel)
    failed = 0
    for case in CASES:
        try:
            case(stub)
        except Exception as error:  # each case is told, whatever it ended with
            failed += 1
            print(f"{case.__name__}: {error!r}", file=sys.stderr)
    print(f"{len(CASES) - failed} of {len(CASES)}")
    return failed > 0


if __name__ == "__main__":
    sys.exit({"serve": serve, "call": call}[sys.argv[1]](sys.argv[2]))
