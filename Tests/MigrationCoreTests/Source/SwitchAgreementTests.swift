import TestSupport
import Testing

@testable import MigrationCore

@Suite("The moment at which the disks of a guest are switched over")
struct SwitchAgreementTests {
    private struct Failure: Error {}

    @Test("It is closed once all are ready at the same time, and stays so")
    func closes() {
        var agreement = SwitchAgreement(count: 3)
        agreement.note(0, isReady: true)
        agreement.note(1, isReady: true)
        #expect(!agreement.isClosed && !agreement.isAssembled)
        agreement.note(0, isReady: false)
        agreement.note(2, isReady: true)
        #expect(!agreement.isClosed && agreement.isAssembled)
        agreement.note(0, isReady: true)
        #expect(agreement.isClosed)
        agreement.note(1, isReady: false)
        #expect(agreement.isClosed)
        var alone = SwitchAgreement(count: 1)
        alone.note(0, isReady: true)
        #expect(alone.isClosed && alone.isAssembled)
    }

    @Test("All of them are given away or none is, whatever happens in which order", arguments: 1...4)
    func allOrNone(count: Int) {
        var random = Seeded.fresh()
        for _ in 0..<2000 {
            var agreement = SwitchAgreement(count: count)
            var fenced = Set<Int>()
            var toCome = (0..<count).shuffled(using: &random)
            var hasFailed = false
            while !agreement.isCommitted, agreement.failure == nil {
                if Int.random(in: 0..<(4 * count), using: &random) == 0 {
                    hasFailed = agreement.fail(Failure())
                    #expect(hasFailed)
                } else if let disk = toCome.popLast() {
                    let meeting: SwitchAgreement.Meeting = fenced.count == count ? .commit : .fence
                    let isLast = agreement.arrive(disk, at: meeting)
                    #expect(isLast == toCome.isEmpty)
                    #expect(agreement.isOver(.fence) == (meeting == .commit || isLast))
                    #expect(!agreement.isOver(.commit), "nobody goes before the word")
                    if meeting == .fence { fenced.insert(disk) } else if isLast { agreement.commit() }
                } else {
                    toCome = (0..<count).shuffled(using: &random)
                }
            }
            #expect(agreement.isCommitted != hasFailed)
            let isHeard = agreement.fail(Failure())
            #expect(isHeard == hasFailed, "what is given away does not come back")
            #expect(agreement.isOver(.commit) == agreement.isCommitted)
        }
    }

    @Test("Who gives the disks up while the word is being given is heard where it was not, and too late where it was")
    func givenUpMeanwhile() {
        for isGiven in [true, false] {
            var agreement = SwitchAgreement(count: 1)
            let isLast = agreement.arrive(0, at: .commit)
            #expect(isLast)
            agreement.beginStep()
            #expect(agreement.isUnsettled && !agreement.isInDoubt)
            let isFailed = agreement.fail(Failure())
            #expect(!isFailed && agreement.failure == nil, "it is nobody's order")
            let isHeard = agreement.fail(Failure(), isFinal: true)
            #expect(isHeard && !agreement.isWithdrawn)
            if isGiven {
                agreement.commit()
                #expect(agreement.isCommitted && agreement.failure == nil)
            } else {
                agreement.doubt()
                agreement.beginStep()
                #expect(agreement.isWithdrawn, "it is only removed from now on")
                agreement.endDoubt()
                #expect(!agreement.isCommitted && agreement.failure != nil)
            }
            #expect(!agreement.isUnsettled)
        }
    }
}
