import Testing

@testable import Daemon

/// What a node does about an image that has changed, without any files.
@Suite struct ImageResponseTests {
    private let open = ImageSighting(isBlockDevice: false, device: 1, inode: 2)

    @Test("The same file is one of the same inode on the same file system; a device is its number")
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

    @Test("A disk at rest follows its image, and one that is not there is refused")
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

    @Test("A disk that moves, has moved or has come stays what it is, and the operator hears of it")
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
