/// Python that speaks the peer protocol, as the beginning of an attack.
enum HostilePeerScript {
    /// `offer`, `forward` and `say` build frames; `connect` opens a connection from any loopback address.
    static let library = """
        import os, resource, select, socket, struct, sys, threading, time
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        port = int(sys.argv[1])
        CAPABILITIES = 0x1ff
        MIGRATE, FORWARD, DEMAND, BULK, ESTIMATE = 1, 2, 3, 4, 5

        def connect(address='127.0.0.2'):
            link = socket.socket()
            link.bind((address, 0))
            link.connect(('127.0.0.1', port))
            return link

        def frame(body): return struct.pack('>I', len(body)) + body

        def text(words): return struct.pack('>H', len(words)) + words.encode()

        def hello(purpose, migration, is_committed=0):
            return frame(b'\\x01' + struct.pack('>QHHQB', 0x6e656172626c6b32, 3, 3, CAPABILITIES, purpose)
                         + migration + bytes([is_committed]) + text(''))

        def offer(migration, export, size):
            return frame(b'\\x10' + migration + b'\\0' + struct.pack('>QI', size, 4096) + text(export) + b'\\0'
                         + struct.pack('>BQQ', 2, 0, 0))

        def read(link, count):
            data = b''
            while len(data) < count:
                more = link.recv(count - len(data))
                if not more: raise EOFError(data)
                data += more
            return data

        def answer(link):
            (length,) = struct.unpack('>I', read(link, 4))
            return read(link, length)

        def greet(link, purpose, migration, is_committed=0):
            link.sendall(hello(purpose, migration, is_committed))
            welcome = answer(link)
            assert welcome[0] == 2, welcome
            return link

        def bring(export, size, address='127.0.0.2'):
            migration = os.urandom(16)
            link = greet(connect(address), MIGRATE, migration)
            link.sendall(offer(migration, export, size))
            accepted = answer(link)
            assert accepted[0] in (32, 39), accepted
            return link, migration

        def request(kind, offset, length, payload=b''):
            return b'\\x30' + struct.pack('>QBBQQ', 1, kind, 0, offset, length) + payload

        def memory(process, name):
            for line in open(f'/proc/{process}/status'):
                if line.startswith(name + ':'): return int(line.split()[1]) * 1024

        def offer_without_reading(link, data):
            link.setblocking(False)
            sent = 0
            deadline = time.time() + 30
            view = memoryview(data)
            while sent < len(data):
                # What is not taken within a few seconds is not going to be.
                if not select.select([], [link], [], 3)[1] or time.time() > deadline: break
                try: sent += link.send(view[sent:sent + (1 << 20)])
                except OSError: break
            return sent

        """
}
