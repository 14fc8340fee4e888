"""A program that streams a chat's tokens at a fixed pace, as OpenAI's API has them.

python -m benchmarks.gateway.chat_program PORT
"""

import asyncio
import sys

from benchmarks.gateway.pace import TOKEN_SECONDS, TOKENS

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"cache-control: no-cache\r\n\r\n"
)
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"token "}}]}\n\n'
_HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            _, _, length = head.lower().partition(b"content-length: ")
            await reader.readexactly(int(length.partition(b"\r")[0] or 0))
            if head.startswith(b"GET"):
                writer.write(_HEALTHY)
            else:
                await _stream(writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _stream(writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    writer.write(_HEAD)
    for number in range(TOKENS):
        await asyncio.sleep(began + number * TOKEN_SECONDS - loop.time())
        writer.write(b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT))
    done = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))
    await writer.drain()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
