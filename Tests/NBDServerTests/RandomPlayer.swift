import NIOConcurrencyHelpers
import TestSupport

/// Plays random requests on one part of a disk, many at once, and compares every answer with a model. Requests that
/// touch the same bytes are never in flight together, since their order would be undefined.
struct RandomPlayer {
    private let client: Client
    private let range: Range<Int>
    /// The most requests in flight.
    private let depth: Int
    private var random: Seeded
    private var model: [UInt8] = []
    private var inFlight: [UInt64: (wish: ClientRequest, bytes: Range<Int>, expected: [UInt8])] = [:]

    init(client: Client, range: Range<Int>, depth: Int = 16, _ seed: UInt64) {
        self.depth = depth
        self.client = client
        self.range = range
        random = Seeded(seed)
    }

    /// - Parameters:
    ///   - requests: the least number of requests.
    ///   - end: the time until which further requests follow.
    /// - Returns: the contents of the part afterwards.
    func play(model: [UInt8], requests: Int, until end: ContinuousClock.Instant = .now) throws -> [UInt8] {
        var player = self
        player.model = model
        var number: UInt64 = 0
        while number < requests || ContinuousClock.now < end {
            try player.begin(number)
            number += 1
        }
        while !player.inFlight.isEmpty { try player.endOne() }
        try player.client.send(ClientRequest(type: ClientRequest.disconnect).bytes(player.client.style))
        guard player.client.isAtEnd() else { throw Unexpected("more came than was asked for") }
        return player.model
    }

    private mutating func begin(_ cookie: UInt64) throws {
        let longest = random.chance(20) ? 300_000 : 9000
        let start = Int.random(in: 0..<model.count, using: &random)
        let length = Int.random(in: 0...min(longest, model.count - start), using: &random)
        let bytes = start..<start + length
        while inFlight.count >= depth || inFlight.values.contains(where: { $0.bytes.overlaps(bytes) }) {
            try endOne()
        }
        let types = [
            ClientRequest.read, ClientRequest.read, ClientRequest.write, ClientRequest.write, ClientRequest.trim,
            ClientRequest.zero, ClientRequest.flush, ClientRequest.cache,
            ClientRequest.status,
        ]
        var wish = ClientRequest(type: types.randomElement(using: &random)!, cookie: cookie)
        if wish.type == ClientRequest.status, client.style == .simple || length == 0 { wish.type = ClientRequest.read }
        if random.chance(20) { wish.flags |= ClientRequest.forced }
        if wish.type != ClientRequest.flush {
            wish.offset = UInt64(range.lowerBound + start)
            wish.length = UInt64(length)
        }
        switch wish.type {
        case ClientRequest.read where client.style != .simple:
            if random.chance(20) { wish.flags |= ClientRequest.doNotFragment }
        case ClientRequest.zero:
            if random.chance(50) { wish.flags |= ClientRequest.noHole }
            if random.chance(30) { wish.flags |= ClientRequest.fast }
        case ClientRequest.status: if random.chance(30) { wish.flags |= ClientRequest.one }
        case ClientRequest.write: wish.payload = random.bytes(length)
        default: break
        }
        inFlight[cookie] = (wish, bytes, Array(model[bytes]))
        switch wish.type {
        case ClientRequest.write: model.replaceSubrange(bytes, with: wish.payload)
        case ClientRequest.trim, ClientRequest.zero: for index in bytes { model[index] = 0 }
        default: break
        }
        try client.send(wish.bytes(client.style))
    }

    private mutating func endOne() throws {
        let heard = try client.receiveReply { [inFlight] cookie in
            guard let (wish, bytes, _) = inFlight[cookie], wish.type == ClientRequest.read else { return 0 }
            return bytes.count
        }
        guard let (wish, _, expected) = inFlight.removeValue(forKey: heard.cookie) else {
            throw Unexpected("an answer to nothing: \(heard.cookie)")
        }
        let what = "request \(heard.cookie), type \(wish.type) at \(wish.offset)+\(wish.length), flags \(wish.flags)"
        guard heard.error == 0, heard.offset ?? wish.offset == wish.offset else {
            throw Unexpected("\(what): error \(heard.error), offset \(heard.offset ?? 0)")
        }
        switch wish.type {
        case ClientRequest.read:
            let isPlaced = heard.data.isEmpty || heard.dataOffset ?? wish.offset == wish.offset
            guard heard.data == expected, isPlaced else { throw Unexpected("\(what) read other bytes") }
        case ClientRequest.status:
            guard agrees(heard.extents, wish, expected[...]) else { throw Unexpected("\(what): \(heard.extents)") }
        default:
            guard heard.data.isEmpty, heard.extents.isEmpty else { throw Unexpected("\(what) brought data") }
        }
    }

    /// Whether a status is possible, and true for the bytes that it calls zero.
    private func agrees(
        _ extents: [(length: UInt64, state: UInt64)], _ wish: ClientRequest, _ expected: ArraySlice<UInt8>
    ) -> Bool {
        var rest = expected
        for extent in extents {
            guard extent.length > 0, extent.length <= rest.count, extent.state <= 3 else { return false }
            if extent.state & 2 != 0, rest.prefix(Int(extent.length)).contains(where: { $0 != 0 }) { return false }
            rest = rest.dropFirst(Int(extent.length))
        }
        return !extents.isEmpty && (wish.flags & ClientRequest.one == 0 || extents.count == 1)
    }
}

/// The final models of several players.
final class Models: Sendable {
    private let parts: NIOLockedValueBox<[[UInt8]]>

    init(count: Int) { parts = NIOLockedValueBox(Array(repeating: [], count: count)) }

    func put(_ part: [UInt8], at index: Int) { parts.withLockedValue { $0[index] = part } }
    var joined: [UInt8] { parts.withLockedValue { Array($0.joined()) } }
}
