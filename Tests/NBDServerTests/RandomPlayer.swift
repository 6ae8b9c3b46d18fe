import Synchronization
import TestSupport

/// Plays random requests on one part of a disk, many at once, and holds every answer against a model of it.
/// Requests that touch the same bytes are never in flight together: their order would be open.
struct RandomPlayer {
    private let client: Client
    private let range: Range<Int>
    private var random: Seeded
    private var model: [UInt8] = []
    private var inFlight: [UInt64: (wish: Wished, bytes: Range<Int>, expected: [UInt8])] = [:]

    init(client: Client, range: Range<Int>, _ seed: UInt64) {
        self.client = client
        self.range = range
        random = Seeded(seed)
    }

    /// - Returns: what the part holds afterwards.
    func play(model: [UInt8], requests: Int) throws -> [UInt8] {
        var player = self
        player.model = model
        for number in 0..<requests { try player.begin(UInt64(number)) }
        while !player.inFlight.isEmpty { try player.endOne() }
        try player.client.send(Wished(type: Wished.disconnect).bytes)
        guard player.client.isAtEnd() else { throw Unexpected("more came than was asked for") }
        return player.model
    }

    private mutating func begin(_ cookie: UInt64) throws {
        let longest = random.chance(20) ? 300_000 : 9000
        let start = Int.random(in: 0..<model.count, using: &random)
        let length = Int.random(in: 0...min(longest, model.count - start), using: &random)
        let bytes = start..<start + length
        while inFlight.count >= 16 || inFlight.values.contains(where: { $0.bytes.overlaps(bytes) }) {
            try endOne()
        }
        let types = [
            Wished.read, Wished.read, Wished.write, Wished.write, Wished.trim, Wished.zero, Wished.flush,
        ]
        var wish = Wished(type: types.randomElement(using: &random)!, cookie: cookie)
        if random.chance(20) { wish.flags |= Wished.forced }
        if wish.type != Wished.flush {
            wish.offset = UInt64(range.lowerBound + start)
            wish.length = UInt32(length)
        }
        if wish.type == Wished.zero, random.chance(50) { wish.flags |= Wished.noHole }
        if wish.type == Wished.write { wish.payload = random.bytes(length) }
        inFlight[cookie] = (wish, bytes, Array(model[bytes]))
        switch wish.type {
        case Wished.write: model.replaceSubrange(bytes, with: wish.payload)
        case Wished.trim, Wished.zero: for index in bytes { model[index] = 0 }
        default: break
        }
        try client.send(wish.bytes)
    }

    private mutating func endOne() throws {
        let (cookie, error) = try client.reply()
        guard let (wish, _, expected) = inFlight.removeValue(forKey: cookie) else {
            throw Unexpected("an answer to nothing: \(cookie)")
        }
        guard error == 0 else { throw Unexpected("error \(error) for \(wish.type) at \(wish.offset)") }
        guard wish.type == Wished.read else { return }
        guard try client.receive(expected.count) == expected else {
            throw Unexpected("request \(cookie) read other bytes at \(wish.offset)+\(wish.length)")
        }
    }
}

/// What each of several players left behind.
final class Models: Sendable {
    private let parts: Mutex<[[UInt8]]>

    init(count: Int) { parts = Mutex(Array(repeating: [], count: count)) }

    func put(_ part: [UInt8], at index: Int) { parts.withLock { $0[index] = part } }
    var joined: [UInt8] { parts.withLock { Array($0.joined()) } }
}
