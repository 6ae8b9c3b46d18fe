import Foundation
import Testing

@testable import MigrationCore

@Suite("Requests that end the process")
struct ResumeCountTests {
    @Test(
        "Two ends in a row before an answer are too many, and so are eight before the process has gone on for a while")
    func ends() {
        var count = ResumeCount()
        #expect(!count.isTooMany)
        count.begin()
        #expect(!count.isTooMany)
        count.begin()
        #expect(count.isTooMany && count.ends == 2)

        count = ResumeCount()
        for end in 1...ResumeCount.mostEarly {
            #expect(!count.isTooMany, "after \(end - 1)")
            count.begin()
            count.answered()
        }
        #expect(count.isTooMany && count.ends == ResumeCount.mostEarly)
        count.settled()
        #expect(count == ResumeCount())
    }

    @Test("A file's counts may be anything", arguments: [Int.min, -1, 0, 1, 2, Int.max])
    func anything(_ number: Int) throws {
        let text = #"{"unanswered":\#(number),"early":\#(number)}"#
        var count = try JSONDecoder().decode(ResumeCount.self, from: Data(text.utf8))
        #expect(count.isTooMany == (number >= 2))
        for _ in 0..<3 { count.begin() }
        #expect(count.isTooMany && count.unanswered == 2 && (3...8).contains(count.early))
    }
}
