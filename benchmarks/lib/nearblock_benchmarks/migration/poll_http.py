"""migration.poll_http ADDRESS: asks a web server for its first page every 20 ms, each time over a connection of its own, and
prints a line whenever the whole of an answer has come. One that does not come holds up none of the others."""
import asyncio
import sys

# Seconds after which nobody waits for an answer any more, so that descriptors do not run out.
PATIENCE = 5


async def ask(address):
    try:
        await asyncio.wait_for(converse(address), PATIENCE)
    except (OSError, TimeoutError):
        pass


async def converse(address):
    reader, writer = await asyncio.open_connection(address, 80)
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read(-1)
        if b" 200 " in answer[:20]:
            print(f"{len(answer)} bytes from {address}")
    finally:
        writer.close()


async def main(address):
    asked = set()
    while True:
        task = asyncio.create_task(ask(address))
        asked.add(task)
        task.add_done_callback(asked.discard)
        await asyncio.sleep(0.02)


asyncio.run(main(sys.argv[1]))
