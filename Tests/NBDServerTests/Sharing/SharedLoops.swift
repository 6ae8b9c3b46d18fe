@testable import NBDServer

/// A model of loops that share clients. A loop works as much as its clients demand, up to one core; clients that have to wait
/// for it work less themselves. If that is more than there are cores, all get less in proportion. Loops see each other's
/// figures of the last measurement.
struct SharedLoops {
    private static let step: UInt64 = 250_000_000
    private let cores: Int
    private let clientsTake: Int
    private var home: [Int]
    private var sharing: [LoopSharing]
    private let rests: [LoopRest]
    private var now: UInt64 = 1_000_000_000
    private var moves: [UInt64] = []
    private var last: [LoopState]
    private var lastIdle = 0
    /// The thousandths of a core that each client needs of its loop.
    var demand: [Int]
    /// The most that was wanted of a loop at any time after a merge, in thousandths of a core.
    private(set) var mostWanted = 0

    /// - Parameters:
    ///   - home: the loop of each client at first; nil if all are at loop 0.
    ///   - demand: the thousandths of a core that each client needs of its loop.
    ///   - clientsTake: the thousandths of a core that each client takes for itself if it does not have to wait.
    init(loops: Int, cores: Int, demand: [Int], clientsTake: Int = 333, home: [Int]? = nil) {
        self.cores = cores
        self.demand = demand
        self.clientsTake = clientsTake
        self.home = home ?? demand.map { _ in 0 }
        sharing = Array(repeating: LoopSharing(), count: loops)
        rests = (0..<loops).map { _ in LoopRest() }
        last = Array(repeating: LoopState(), count: loops)
        measure()
    }

    /// Thousandths of a core that each loop takes.
    var busy: [Int] { state.busy }

    /// Thousandths of a core that all loops take.
    var served: Int { busy.reduce(0, +) }

    /// Number of loops with clients.
    var used: Int { Set(home).count }

    private func wanted(_ loop: Int) -> Int { home.indices.reduce(0) { $0 + (home[$1] == loop ? demand[$1] : 0) } }

    private var state: (busy: [Int], idle: Int) {
        var busy: [Int] = []
        var clients = 0
        for loop in sharing.indices {
            let wanted = wanted(loop)
            busy.append(min(1000, wanted))
            if wanted > 0 { clients += home.count { $0 == loop } * clientsTake * busy[loop] / wanted }
        }
        let all = busy.reduce(clients, +)
        guard all > cores * 1000 else { return (busy, cores * 1000 - all) }
        return (busy.map { $0 * cores * 1000 / all }, 0)
    }

    mutating func run(seconds: Int) {
        for _ in 0..<seconds * 4 {
            for loop in sharing.indices { decide(loop) }
            now += Self.step
            measure()
        }
    }

    private mutating func measure() {
        let (busy, idle) = state
        for loop in last.indices { last[loop] = LoopState(busy: busy[loop], sessions: home.count { $0 == loop }) }
        lastIdle = idle
    }

    func movesInLastSeconds(_ seconds: UInt64) -> Int { moves.count { $0 + seconds * 1_000_000_000 > now } }

    private mutating func decide(_ loop: Int) {
        let own = home.indices.filter { home[$0] == loop }
        let works = own.map { SessionWork(bytes: demand[$0] * 100_000, receives: 1000) }
        var loops = last
        for index in loops.indices { loops[index].isResting = rests[index].isResting(at: now) }
        let cores = CoreState(usable: cores * 1000, idle: lastIdle)
        let view = LoopSharing.View(own: loop, loops: loops, works: works, cores: cores)
        let decision = sharing[loop].decide(view, at: now)
        let (numbers, target, isSpread): ([Int], Int, Bool)
        switch decision {
        case .stay: return
        case .spread(let given, let to): (numbers, target, isSpread) = (given, to, true)
        case .merge(let given, let to): (numbers, target, isSpread) = (given, to, false)
        }
        guard LoopRest.claim(rests[loop], rests[target], at: now, for: 3 * Self.step) else { return }
        for number in numbers { home[own[number]] = target }
        moves.append(now)
        if isSpread { sharing[loop].didSpread(at: now) } else { mostWanted = max(mostWanted, wanted(target)) }
    }
}
