"""Calls over many connections by grpcio: calls.py ADDRESS CONNECTIONS SECONDS"""

import asyncio
import random
import sys

import grpc

# EmployeeService.GetEmployee with employee_id = 1, as bytes: no compiled messages are needed.
METHOD, REQUEST = "/ringway.demo.employee.v1.EmployeeService/GetEmployee", b"\x08\x01"
PAUSE = 2.0


async def caller(address, until, failed):
    # A pool of its own makes a connection of its own.
    options = [("grpc.use_local_subchannel_pool", 1)]
    calls = 0
    async with grpc.aio.insecure_channel(address, options) as channel:
        call = channel.unary_unary(METHOD)
        while asyncio.get_running_loop().time() < until:
            try:
                await call(REQUEST, timeout=20)
                calls += 1
            except grpc.aio.AioRpcError as error:
                failed.append(f"{error.code()}: {error.details()}")
            await asyncio.sleep(random.uniform(0, PAUSE))
    return calls


async def main():
    address, connections, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    failed, until = [], asyncio.get_running_loop().time() + seconds
    calls = await asyncio.gather(*(caller(address, until, failed) for _ in range(connections)))
    print(*failed[:5], sep="\n", end="\n" if failed else "")
    print(f"grpcio {grpc.__version__}: {sum(calls)} calls, {len(failed)} failed")


asyncio.run(main())
