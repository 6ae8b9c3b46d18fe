import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Monitoring

@Suite("HTTP for monitoring")
struct WebServerTests {
    /// Serves `/metrics` and `/events` of endless events, while `body` runs.
    private func serving(_ body: (UInt16) async throws -> Void) async throws {
        let long = Array(String(repeating: "x", count: 4 << 20).utf8)
        let routes = [
            WebRoute("/metrics") { .document(mediaType: "text/plain", body: Array("a 1\n".utf8)) },
            WebRoute("/long") { .document(mediaType: "text/plain", body: long) },
            WebRoute("/events") {
                let number = NIOLockedValueBox(0)
                return .events(
                    AsyncStream {
                        try? await Task.sleep(for: .milliseconds(5))
                        return Task.isCancelled ? nil : "{\"number\":\(number.withLockedValue { $0 += 1; return $0 })}"
                    })
            },
        ]
        try await serving(routes, body)
    }

    private func serving(
        _ routes: [WebRoute], patience: TimeAmount = .seconds(10), _ body: (UInt16) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = WebServer(
            routes: routes, hosts: HostRule(.loopbackAndNames), headers: [("X-Test", "yes")], patience: patience)
        let result: Result<Void, any Error>
        do {
            let port = try await server.listen(host: "127.0.0.1", port: 0, on: group)
            result = .success(try await body(port))
        } catch { result = .failure(error) }
        await server.stop()
        try await group.shutdownGracefully()
        try result.get()
    }

    private func ask(_ request: String, _ port: UInt16) async throws -> String? {
        let socket = try RawSocket(port: port)
        socket.send(Array(request.utf8))
        return try await socket.readToEnd().map { String(decoding: $0, as: UTF8.self) }
    }

    private func get(_ path: String, host: String = "localhost", _ port: UInt16) async throws -> String? {
        try await ask("GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\r\n", port)
    }

    @Test("GET of a path -> its document and the common headers, and the connection ends")
    func document() async throws {
        try await serving { port in
            let answer = try #require(try await get("/metrics?x=1", port))
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("\r\n\r\na 1\n"), "\(answer)")
            #expect(answer.contains("X-Test: yes\r\n") && answer.contains("Content-Length: 4\r\n"))
            let long = try #require(try await get("/long", port))
            #expect(long.utf8.count > 4 << 20, "all of a long document comes before the end")
        }
    }

    @Test(
        "Foreign Host, other method, other path, or garbage -> refused",
        arguments: [
            ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"), ("GET /metrics HTTP/1.1\r\n\r\n", "421"),
            ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "405"),
            ("GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
            ("GET /../metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"), ("NBDMAGIC\r\n\r\n", "400"),
        ])
    func refusals(_ request: String, _ status: String) async throws {
        try await serving { port in
            let answer = try #require(try await ask(request, port))
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
        }
    }

    @Test("A head without end -> the connection ends")
    func longHead() async throws {
        try await serving { port in
            let socket = try RawSocket(port: port)
            socket.send(Array("GET /metrics HTTP/1.1\r\nHost: localhost\r\n".utf8))
            for number in 0..<100 { socket.send(Array("X-\(number): \(String(repeating: "y", count: 1000))\r\n".utf8)) }
            #expect(try await socket.readToEnd() != nil)
            #expect(try await get("/metrics", port)?.hasSuffix("a 1\n") == true)
        }
    }

    @Test("Many clients that say nothing -> others are answered, and the oldest ones closed")
    func silentClients() async throws {
        try await serving { port in
            let silent = try (0..<100).map { _ in try RawSocket(port: port) }
            #expect(try await get("/metrics", port)?.hasSuffix("a 1\n") == true)
            #expect(try await silent[0].readToEnd() == [])
            withExtendedLifetime(silent) {}
        }
    }

    @Test("Events -> one after the other, in the form of server-sent events; too many clients are refused")
    func events() async throws {
        try await serving { port in
            let viewers = try (0..<16).map { _ in try RawSocket(port: port) }
            for viewer in viewers { viewer.send(Array("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)) }
            try await waitUntil("a further one is refused") {
                let further = try RawSocket(port: port)
                further.send(Array("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
                return try await further.readToEnd(within: .seconds(1)).map { String(decoding: $0, as: UTF8.self) }?
                    .hasPrefix("HTTP/1.1 503 ") == true
            }
            #expect(try await get("/metrics", port)?.hasSuffix("a 1\n") == true)
        }
    }

    @Test(
        "Viewers that read nothing -> no more is made for them than sockets hold, others are answered, and they are closed"
    )
    func slowViewers() async throws {
        let made = NIOLockedValueBox(0)
        let event = String(repeating: "x", count: 1 << 20)
        let routes = [
            WebRoute("/metrics") { .document(mediaType: "text/plain", body: Array("a 1\n".utf8)) },
            WebRoute("/events") {
                .events(
                    AsyncStream {
                        made.withLockedValue { $0 += 1 }
                        return Task.isCancelled ? nil : event
                    })
            },
        ]
        try await serving(routes, patience: .seconds(2)) { port in
            let viewers = try (0..<16).map { _ in try RawSocket(port: port) }
            for viewer in viewers { viewer.send(Array("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)) }
            try await waitUntil("each gets an event") { made.withLockedValue { $0 } >= 16 }
            #expect(try await get("/metrics", port)?.hasSuffix("a 1\n") == true)
            // Each one has at most what a socket of 6 MiB and a client's buffer hold, and one event more.
            try await waitUntil("they are closed, and others can watch") {
                let further = try RawSocket(port: port)
                further.send(Array("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
                return try await further.begins(with: "HTTP/1.1 200 ")
            }
            #expect(made.withLockedValue { $0 } < 16 * 16 + 40, "\(made.withLockedValue { $0 })")
        }
    }

    @Test("Clients that don't read a long document -> closed in time, and others are answered meanwhile")
    func slowReaders() async throws {
        let asked = NIOLockedValueBox(0)
        let long = [UInt8](repeating: 0x78, count: 24 << 20)
        let routes = [
            WebRoute("/metrics") { .document(mediaType: "text/plain", body: Array("a 1\n".utf8)) },
            WebRoute("/long") {
                asked.withLockedValue { $0 += 1 }
                return .document(mediaType: "text/plain", body: long)
            },
        ]
        try await serving(routes, patience: .seconds(2)) { port in
            let readers = try (0..<8).map { _ in try RawSocket(port: port) }
            for reader in readers { reader.send(Array("GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)) }
            try await waitUntil("each is answered") { asked.withLockedValue { $0 } == 8 }
            #expect(try await get("/metrics", port)?.hasSuffix("a 1\n") == true)
            try await Task.sleep(for: .seconds(3))
            for reader in readers {
                let got = try #require(try await reader.readToEnd())
                #expect(got.count < long.count, "closed before the end")
            }
        }
    }

    @Test("A server that stops -> its viewers are closed")
    func stop() async throws {
        let viewer = NIOLockedValueBox<RawSocket?>(nil)
        try await serving { port in
            let socket = try RawSocket(port: port)
            socket.send(Array("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
            _ = try await get("/metrics", port)
            viewer.withLockedValue { $0 = socket }
        }
        let said = try await viewer.withLockedValue { $0 }?.readToEnd()
        #expect(said != nil)
    }

    @Test("The page's files -> there, and without anything of another origin")
    func page() async throws {
        let answers = BlockMapPage.routes { AsyncStream { nil } }
        #expect(answers.map(\.path) == ["/", "/page.css", "/page.js", "/icon.svg", "/events"])
        for route in answers.prefix(4) {
            guard case .document(_, let body) = await route.answer() else { throw CancellationError() }
            let text = String(decoding: body, as: UTF8.self).replacing("http://www.w3.org/2000/svg", with: "")
            #expect(!text.isEmpty)
            #expect(!text.contains("//") || route.path == "/page.js", "\(route.path)")
            for word in ["http:", "https:", "innerHTML", "eval(", "style=", "onclick", "@import"] {
                #expect(!text.contains(word), "\(route.path) has \(word)")
            }
        }
    }
}
