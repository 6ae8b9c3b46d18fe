import Foundation
import Ring
import NIOConcurrencyHelpers

@testable import Block

/// A device whose requests end when the test says so.
final class HandDevice: BlockDevice, @unchecked Sendable {
    private struct Held: @unchecked Sendable {
        let request: UnsafeMutablePointer<BlockRequest>
        let port: DiskPort
    }

    private let held = NIOLockedValueBox<[Held]>([])
    private let begun = Log()

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        begun.append(Int(request.pointee.offset))
        held.withLockedValue { $0.append(Held(request: request, port: port)) }
    }

    /// The offsets of all requests so far, in order.
    var offsets: [Int] { begun.all }

    /// Ends all requests it has, with success or an error.
    func endAll(error: CInt = 0) {
        let ending = held.withLockedValue { held in
            defer { held = [] }
            return held
        }
        for item in ending {
            item.port.loop.post {
                item.request.pointee.error = error
                item.port.ended(item.request)
            }
        }
    }

    /// Waits until `count` requests have come.
    func waitFor(_ count: Int) async throws {
        for _ in 0..<2000 where offsets.count < count { try await Task.sleep(for: .milliseconds(5)) }
        guard offsets.count >= count else { throw CancellationError() }
    }
}

/// Numbers in the order of their arrival; any thread may add one.
final class Log: Sendable {
    private let numbers = NIOLockedValueBox<[Int]>([])

    func append(_ number: Int) { numbers.withLockedValue { $0.append(number) } }
    var all: [Int] { numbers.withLockedValue { $0 } }
}
