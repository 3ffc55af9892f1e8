"""Opens connections to a gateway at once, and says when each is told to go: spread.py ADDRESS COUNT AGE_SECONDS"""

import asyncio
import socket
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
GOAWAY = 7


def connect(address):
    """A connection, and when it began."""
    stream = socket.create_connection(address)
    began = time.monotonic()
    stream.sendall(PREFACE)
    return stream, began


async def age(stream, began):
    """The seconds from the connect to the first GOAWAY."""
    reader, writer = await asyncio.open_connection(sock=stream)
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] == GOAWAY:
            took = time.monotonic() - began
            writer.close()
            return took


async def main():
    address, count, wanted = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    host, port = address.rsplit(":", 1)
    # All at once, and before anything is read: a loop that is busy with others would begin late to count.
    connections = [connect((host, int(port))) for _ in range(count)]
    ages = sorted(await asyncio.gather(*(age(*connection) for connection in connections)))
    first, last = ages[0], ages[-1]
    # How many go in each tenth of the time that they should be spread over.
    begin, width = 0.9 * wanted, 0.02 * wanted
    tenths = [sum(begin + n * width <= at < begin + (n + 1) * width for at in ages) for n in range(10)]
    print(f"{count} connections are told to go after {first:.3f} to {last:.3f} s; by tenths: {tenths}")
    late = 0.02 * wanted + 0.1  # of a machine that does other things, too
    in_time = first >= 0.88 * wanted and last <= 1.1 * wanted + late
    even = all(count * 0.02 <= n <= count * 0.25 for n in tenths)
    print("spread" if in_time and even else "not spread")


asyncio.run(main())
