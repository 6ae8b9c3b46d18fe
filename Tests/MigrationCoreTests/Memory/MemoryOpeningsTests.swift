import Testing

@testable import MigrationCore

@Suite("The order of a hypervisor's connections")
struct MemoryOpeningsTests {
    @Test("Three connections -> each waits until those before it are open")
    func order() {
        var openings = MemoryOpenings()
        let numbers = (0..<3).map { _ in openings.begin() }
        #expect(numbers == [0, 1, 2])
        #expect(numbers.map(openings.turn) == [.now, .later, .later])
        openings.open(0)
        #expect(numbers[1...].map(openings.turn) == [.now, .later])
        openings.open(1)
        #expect(openings.turn(of: 2) == .now)
    }

    @Test("One ends before it is open -> those that wait for it never open, and later ones do")
    func failure() {
        var openings = MemoryOpenings()
        let first = openings.begin()
        let second = openings.begin()
        openings.end(first)
        #expect(openings.turn(of: second) == .never)
        openings.end(second)
        #expect(openings.turn(of: openings.begin()) == .now)
    }

    @Test("An open one ends -> those that wait go on")
    func end() {
        var openings = MemoryOpenings()
        let first = openings.begin()
        let second = openings.begin()
        openings.open(first)
        openings.end(first)
        #expect(openings.turn(of: second) == .now)
        openings.open(second)
        openings.end(second)
        #expect(openings.turn(of: openings.begin()) == .now)
    }
}
