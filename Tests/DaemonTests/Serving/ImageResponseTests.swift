import Testing

@testable import Daemon

/// Tests of the decision about a changed image, without files.
@Suite struct ImageResponseTests {
    private let open = ImageSighting(isBlockDevice: false, device: 1, inode: 2)

    @Test("Same inode and file system -> the same file; same number -> the same device")
    func sightings() {
        #expect(ImageChange(open: open, atPath: open, size: 5, told: 5) == .same)
        #expect(ImageChange(open: open, atPath: open, size: 6, told: 5) == .resized(to: 6))
        #expect(ImageChange(open: open, atPath: open, size: 4, told: 5) == .resized(to: 4))
        for other in [
            ImageSighting(isBlockDevice: false, device: 1, inode: 3),
            ImageSighting(isBlockDevice: false, device: 7, inode: 2),
            ImageSighting(isBlockDevice: true, device: 1, inode: 2),
        ] {
            #expect(ImageChange(open: open, atPath: other, size: 5, told: 5) == .replaced)
        }
    }

    private func situation(isMoving: Bool = false, hasMoved: Bool = false, hasArrived: Bool = false)
        -> ImageResponse.Situation
    {
        ImageResponse.Situation(
            path: "p", told: 10, isMoving: isMoving, hasMoved: hasMoved, hasArrived: hasArrived)
    }

    @Test("A disk at rest -> follows its image; a missing image -> refused")
    func atRest() {
        #expect(ImageResponse(to: .same, in: situation()) == .serve)
        #expect(ImageResponse(to: .replaced, in: situation()) == .reopen)
        #expect(ImageResponse(to: .resized(to: 20), in: situation()) == .resize(to: 20))
        #expect(ImageResponse(to: .resized(to: 5), in: situation()) == .resize(to: 5))
        for change in [ImageChange.resized(to: 0), .missing("gone")] {
            guard case .refuse = ImageResponse(to: change, in: situation()) else {
                Issue.record("\(change) is served")
                continue
            }
        }
    }

    @Test("A disk that moves, has moved or has arrived -> kept, with a message")
    func inMotion() {
        for situation in [situation(isMoving: true), situation(hasMoved: true), situation(hasArrived: true)] {
            #expect(ImageResponse(to: .same, in: situation) == .serve)
            for change in [ImageChange.replaced, .missing("gone"), .resized(to: 20), .resized(to: 5), .resized(to: 0)] {
                guard case .keep(let problem) = ImageResponse(to: change, in: situation) else {
                    Issue.record("\(change) changes a disk in motion")
                    continue
                }
                #expect(problem.split(separator: "\n").count == 1)
            }
        }
    }
}
