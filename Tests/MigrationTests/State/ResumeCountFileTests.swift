import Foundation
import TestSupport
import Testing

@testable import Block
@testable import Migration
@testable import MigrationCore

@Suite("Counts of ends that a request has caused")
struct ResumeCountFileTests {
    private struct Request: Codable, Equatable {
        var text = "asked"
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
