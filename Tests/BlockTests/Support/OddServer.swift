import Foundation
import TestSupport

/// An NBD server of 1 MiB, or of 64 for large writes, that does one thing in a way that no real server does, and goes on in
/// order.
///
/// Byte N of its disk is N modulo 251 at first, so that a byte in a wrong place is seen. It tells what it has done, and is told
/// to go on, by files: the socket's path and `.asked`, `.go` and so on.
enum OddServer {

    static func bytes(_ range: Range<Int>) -> [UInt8] { range.map { UInt8($0 % 251) } }

    /// Starts a server on a Unix socket; `mode` names the odd answer.
    static func start(_ socket: String, _ mode: String, structured: Bool = true) throws -> ChildProcess {
        try ChildProcess("/usr/bin/python3", ["-c", program, socket, mode, structured ? "1" : "0"])
    }

    private static let program = #"""
        import fcntl, os, socket, struct, sys, termios, threading, time
        path, mode, structured = sys.argv[1], sys.argv[2], sys.argv[3] == "1"
        # Modes in which a read is answered in order.
        ordinary = ("none", "status", "context", "late", "early", "sizes", "half")
        size = 64 << 20 if mode in ("late", "early") else 1 << 20
        disk = bytearray((bytes(range(251)) * (size // 251 + 1))[:size])

        def need(c, n):
            data, done = bytearray(n), 0
            while done < n:
                more = c.recv_into(memoryview(data)[done:])
                if not more: raise EOFError
                done += more
            return data

        def tell(what):
            with open(path + what, "a") as f: f.write("x")
        def wait(what):
            while not os.path.exists(path + what): time.sleep(0.01)
        def wait_for_bytes(c, n):
            while struct.unpack("i", fcntl.ioctl(c, termios.FIONREAD, bytes(4)))[0] < n: time.sleep(0.01)

        def greet(c, size):
            c.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
            need(c, 4)
            while True:
                _, option, count = struct.unpack(">8sII", need(c, 16))
                need(c, count)
                def say(kind, data=b""): c.sendall(struct.pack(">QIII", 0x3e889045565a9, option, kind, len(data)) + data)
                if option == 8 and structured: say(1)
                elif option == 10 and structured: say(4, struct.pack(">I", 77) + b"base:allocation"); say(1)
                elif option in (6, 7): say(3, struct.pack(">HQH", 0, size, 0x16d)); say(1)
                else: say(0x80000001)
                if option == 7: return

        def chunk(kind, cookie, data, last=False):
            return struct.pack(">IHHQI", 0x668e33ef, int(last), kind, cookie, len(data)) + data
        def part(cookie, start, end, last=False): return chunk(1, cookie, struct.pack(">Q", start) + bytes(disk[start:end]), last)
        def end(cookie): return chunk(0, cookie, b"", True)
        def plain(cookie, error=0): return struct.pack(">IIQ", 0x67446698, error, cookie)
        def slowly(c, data):
            for i in range(len(data)):
                c.sendall(data[i:i + 1])

        def odd(c, cookie, start, count):
            middle, stop = start + count // 2, start + count
            if mode == "pieces": slowly(c, part(cookie, middle, stop) + part(cookie, start, middle) + end(cookie))
            elif mode == "short": c.sendall(part(cookie, start, middle) + end(cookie))
            elif mode == "twice": c.sendall(part(cookie, start, stop) + part(cookie, start, stop, True))
            elif mode == "outside": c.sendall(chunk(1, cookie, struct.pack(">Q", stop - 1) + b"ab", True))
            elif mode == "error":
                c.sendall(part(cookie, start, middle))
                slowly(c, chunk(0x8002, cookie, struct.pack(">IH", 28, 4) + b"full" + struct.pack(">Q", middle), True))
            elif mode == "garbage": c.sendall(b"\xff" * 64)
            elif mode == "stranger": c.sendall(end(cookie + 1))
            elif mode == "older": c.sendall(end(cookie) + end(cookie))
            elif mode == "closing": c.sendall(part(cookie, start, middle)[:-1]); raise EOFError
            elif mode == "leaving": c.sendall(plain(cookie, 108) if not structured else chunk(0x8001, cookie, struct.pack(">IH", 108, 0), True))
            elif mode == "simple": c.sendall(plain(cookie))
            elif mode == "behind": c.sendall(part(cookie, start, middle) + plain(cookie, 28))
            elif mode == "overtaken":
                # A write that has come is carried out only when the client has gone to another connection, or waits for the end.
                tell(".asked")
                wait_for_bytes(c, 28 + 4096)
                c.sendall(b"\xff" * 64)
                overtaken.wait(2)

        def status(cookie, count, asked):
            context, flags = 77, 3
            if mode == "half": return chunk(5, cookie, struct.pack(">III", context, count, flags), True)[:20]
            if mode == "context":
                if asked > 0: context = 99
                else: flags = 0
                return chunk(5, cookie, struct.pack(">III", context, count, flags), True)
            data = struct.pack(">I", context)
            for i in range(4): data += struct.pack(">II", count // 4, flags * (i % 2))
            return chunk(5, cookie, data + struct.pack(">II", 1 << 30, flags)) + end(cookie)

        def write(c, cookie, start, count, first):
            isLarge = count > 1 << 20
            if isLarge and mode in ("late", "early"):
                tell(".asked")
                wait(".go")
            if isLarge and mode == "early":
                c.sendall(end(cookie))
                tell(".answered")
                wait(".more")
            data = need(c, count)
            disk[start:start + count] = data
            if not first and data[0] == 2: overtaken.set()
            if not (isLarge and mode == "early"): c.sendall(end(cookie) if structured else plain(cookie))

        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen(8)
        done = False
        overtaken = threading.Event()

        def serve(c, number):
            global done
            asked = 0
            try:
                greet(c, size * 2 if mode == "sizes" and number == 1 else size)
                while True:
                    _, flags, kind, cookie, start, count = struct.unpack(">IHHQQI", need(c, 28))
                    if kind == 2: break
                    if kind == 1: write(c, cookie, start, count, number == 0)
                    elif kind == 0 and not done and mode not in ordinary:
                        done = True
                        odd(c, cookie, start, count)
                    elif kind == 0 and structured: c.sendall(part(cookie, start, start + count, True))
                    elif kind == 0: c.sendall(plain(cookie) + disk[start:start + count])
                    elif kind == 7:
                        slowly(c, status(cookie, count, asked))
                        if mode == "half": raise EOFError
                        asked += 1
                    else: c.sendall(end(cookie) if structured else plain(cookie))
            except (EOFError, OSError): pass
            c.close()
            tell(".ended")

        number = 0
        while True:
            threading.Thread(target=serve, args=(server.accept()[0], number), daemon=True).start()
            number += 1
        """#
}
