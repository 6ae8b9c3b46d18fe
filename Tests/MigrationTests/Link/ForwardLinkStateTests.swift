import BlockModel
import MigrationProtocol
import NIOCore
import PeerModel
import Testing

@testable import Block
@testable import Migration
@testable import MigrationCore

@Suite("Requests of a link to the destination")
struct ForwardLinkStateTests {
    /// A link's state on a connection, with one write that has not left.
    private func connected(_ request: AsyncRequest) -> (state: ForwardLink.State, id: UInt64) {
        var state = ForwardLink.State(
            destination: PeerAddress(host: "localhost", port: 1),
            requests: ForwardQueue(isResumed: false, mayRepeat: false))
        let id = state.requests.begin()
        state.pending[id] = request
        _ = state.requests.connected(boot: 1, isCommitted: true)
        return (state, id)
    }

    @Test("A write leaves -> its bytes are copied; it has ended while it waited for room -> its buffer is not touched")
    func leaves() {
        var bytes: [UInt8] = [1, 2, 3]
        bytes.withUnsafeMutableBytes { buffer in
            let write = AsyncRequest(
                kind: .write, isForcedUnitAccess: false, mayPunchHole: true, offset: 512, length: 3, buffer: buffer
            ) { _ in }
            var (state, id) = connected(write)
            let left = state.leaves(id)
            #expect(left?.payload == ByteBuffer(bytes: [1, 2, 3]))
            (state, id) = connected(write)
            // As `stop` does.
            state.pending = [:]
            let ended = state.leaves(id)
            #expect(ended == nil)
        }
    }

    @Test("A connection opens its queue -> requests without an answer are in it; it has ended before -> there is none")
    func queue() async {
        let flush = AsyncRequest(
            kind: .flush, isForcedUnitAccess: false, mayPunchHole: true, offset: 0, length: 0,
            buffer: UnsafeMutableRawBufferPointer(start: nil, count: 0)
        ) { _ in }
        let link = connected(flush)
        var state = link.state
        let queue = state.openQueue()
        state.endQueue()
        var ids: [UInt64] = []
        if let queue { for await id in queue { ids.append(id) } }
        #expect(ids == [link.id] && state.queue == nil)
        // The destination has closed while the connection's first changes were repeated.
        state.hasEnded = true
        #expect(state.openQueue() == nil && state.queue == nil)
    }

    @Test("A connection that takes no requests -> the request stays for the next one")
    func staysBehind() {
        let flush = AsyncRequest(
            kind: .flush, isForcedUnitAccess: false, mayPunchHole: true, offset: 0, length: 0,
            buffer: UnsafeMutableRawBufferPointer(start: nil, count: 0)
        ) { _ in }
        let link = connected(flush)
        var state = link.state
        let isLeaving = state.requests.leave()
        let left = state.leaves(link.id)
        #expect(isLeaving && left == nil)
        #expect(state.pending[link.id] != nil)
    }
}
