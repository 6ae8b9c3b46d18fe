import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import Migration

@Suite("Requests that end the process")
struct ResumeCountTests {
    private struct Request: Codable, Equatable {
        var text = "asked"
    }

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

    @Test("Counts are durable beside the request, go with it, and never bring it back")
    func records() throws {
        let scratch = Scratch()
        let image = try RawImage.create(path: scratch.file("disk.raw"), size: 4096)
        func records() throws -> SourceRecords {
            SourceRecords(directory: try StateDirectory(path: scratch.file("state")), image: image)
        }
        try records().keep(Request())
        #expect(try records().resumes(Request.self) == ResumeCount())
        try records().countResumes(of: Request.self) { $0.begin() }
        #expect(try records().resumes(Request.self).unanswered == 1)
        #expect(try records().kept(Request.self) == Request())
        try records().keep(Request(), resumes: try records().resumes(Request.self))
        try records().countResumes(of: Request.self) { $0.begin() }
        #expect(try records().resumes(Request.self).isTooMany)
        try records().keep(Request())
        #expect(try records().resumes(Request.self) == ResumeCount(), "asked for anew")

        try records().forgetRequest()
        try records().countResumes(of: Request.self) { $0.begin() }
        #expect(try records().kept(Request.self) == nil)
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.file("state")).isEmpty)
    }
}
