import Foundation
import TestSupport
import Testing

@testable import Block

@Suite("Identity of images")
struct ImageIdentityTests {
    private let scratch = Scratch()

    private func identity(_ path: String) throws -> ImageIdentity? { try ImageIdentity(at: path) }

    private func put(_ text: String, _ path: String) throws {
        let file = scratch.file(path)
        try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try text.write(toFile: file, atomically: false, encoding: .utf8)
    }

    @Test("A file is the same one under another name and after a write, and another one after it was replaced")
    func files() throws {
        let path = try scratch.hole(4096, "a")
        let before = try #require(try identity(path))
        try FileManager.default.moveItem(atPath: path, toPath: scratch.file("b"))
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: scratch.file("b")))
        try handle.write(contentsOf: Data([1]))
        try handle.close()
        let renamed = try #require(try identity(scratch.file("b")))
        #expect(renamed == before)
        truncate(scratch.file("b"), 8192)
        let grown = try #require(try identity(scratch.file("b")))
        #expect(grown.isSame(as: before) && grown != before)
        // File systems often give the same number to the next file.
        unlink(scratch.file("b"))
        _ = try scratch.hole(4096, "b")
        #expect(try identity(scratch.file("b"))?.isSame(as: before) == false)
        #expect(try JSONDecoder().decode(ImageIdentity.self, from: JSONEncoder().encode(before)) == before)
    }

    @Test("File systems are compared by the strongest fact that both identities have")
    func fileSystems() {
        let both = FileSystemIdentity(uuid: "u", id: "1")
        #expect(both.isSame(as: FileSystemIdentity(uuid: "u", id: "2")), "a device number may be in the id")
        #expect(!both.isSame(as: FileSystemIdentity(uuid: "v", id: "1")))
        #expect(both.isSame(as: FileSystemIdentity(id: "1")))
        #expect(!both.isSame(as: FileSystemIdentity(source: "nfs4 server:/export")))
        #expect(!FileSystemIdentity().isSame(as: FileSystemIdentity()), "nothing is no evidence")
    }

    @Test("Without a time of creation, a file of another size is another file")
    func noBirthTime() {
        func image(_ size: UInt64, birth: Int64?) -> ImageIdentity {
            ImageIdentity(
                file: FileIdentity(fileSystem: FileSystemIdentity(id: "1"), inode: 7, birthTime: birth), size: size)
        }
        #expect(image(1, birth: nil).isSame(as: image(1, birth: nil)))
        #expect(!image(1, birth: nil).isSame(as: image(2, birth: nil)))
        #expect(image(1, birth: 5).isSame(as: image(2, birth: 5)))
        #expect(!image(1, birth: 5).isSame(as: image(1, birth: 6)))
    }

    @Test(
        "A loop device is known by its file, whatever its number", .enabled(if: LoopDevice.isPossible))
    func loopDevices() async throws {
        let devices = LoopDevice.reserveNumbers(2)
        let files = try ["a", "b"].map { try scratch.hole(1 << 20, $0) }
        try await LoopDevice.attach(files[0], to: devices[0])
        try await LoopDevice.attach(files[1], to: devices[1])
        let before = try devices.map { try #require(try identity($0)) }
        #expect(!before[0].isSame(as: before[1]))
        #expect(
            try !before[0].isSame(as: #require(try identity(files[0]))), "what leads through another path is told apart"
        )
        for device in devices { try await LoopDevice.detach(device) }
        try await LoopDevice.attach(files[1], to: devices[0])
        try await LoopDevice.attach(files[0], to: devices[1])
        let after = try devices.map { try #require(try identity($0)) }
        #expect(after[0].isSame(as: before[1]) && after[1].isSame(as: before[0]))
        #expect(!after[0].isSame(as: before[0]))
        for device in devices { try await LoopDevice.detach(device) }
    }

    @Test("Facts from sysfs and udev identify devices")
    func sysfs() throws {
        var devices = SystemDevices()
        devices.sysfs = scratch.file("sys")
        devices.udev = scratch.file("udev")
        try put("LVM-abc\n", "sys/dev/block/253:0/dm/uuid")
        try put("eui.0011\n", "sys/dev/block/259:0/wwid")
        try put("naa.5000\n", "sys/dev/block/8:0/device/wwid")
        try put("QM0001  \n", "sys/dev/block/8:0/device/serial")
        try put("0000\n", "sys/dev/block/8:16/serial")
        try put("\n", "sys/dev/block/253:1/dm/uuid")
        try put("E:MD_NAME=x\nE:MD_UUID=1:2\n", "udev/b9:0")
        func facts(_ major: UInt32, _ minor: UInt32) -> [String: String] {
            devices.facts(of: scratch.file("sys/dev/block/\(major):\(minor)"), major: major, minor: minor).facts
        }
        #expect(facts(253, 0) == ["dm-uuid": "LVM-abc"])
        #expect(facts(259, 0) == ["wwid": "eui.0011"])
        #expect(facts(8, 0) == ["wwid": "naa.5000", "serial": "QM0001"])
        #expect(facts(8, 16).isEmpty, "a serial number of zeros is none")
        #expect(facts(253, 1).isEmpty)
        #expect(facts(9, 0) == ["md-uuid": "1:2"])
    }

    @Test("A partition is known by its UUID, and by its place on a disk that is known")
    func partitions() throws {
        var devices = SystemDevices()
        devices.sysfs = scratch.file("sys")
        devices.udev = scratch.file("udev")
        try put("8:0\n", "sys/devices/sda/dev")
        try put("naa.5000\n", "sys/devices/sda/device/wwid")
        try put("1\n", "sys/devices/sda/sda1/partition")
        try put("2048\n", "sys/devices/sda/sda1/start")
        try put("MAJOR=8\nPARTUUID=dead-01\n", "sys/devices/sda/sda1/uevent")
        try put("2\n", "sys/devices/sda/sda2/partition")
        try put("4096\n", "sys/devices/sda/sda2/start")
        try put("E:ID_PART_ENTRY_UUID=dead-02\n", "udev/b8:2")
        for name in ["sda1", "sda2"] {
            let place = devices.facts(
                of: scratch.file("sys/devices/sda/\(name)"), major: 8, minor: name == "sda1" ? 1 : 2
            ).facts
            #expect(place["partition-uuid"] == (name == "sda1" ? "dead-01" : "dead-02"))
            #expect(place["partition"] == "at \(name == "sda1" ? 2048 : 4096) of wwid naa.5000")
        }
    }

    @Test("Devices are compared by the strongest fact that both have, and by their size where that is weak")
    func devices() {
        func device(_ facts: [DeviceIdentity.Kind: String], _ size: UInt64 = 1) -> ImageIdentity {
            ImageIdentity(device: DeviceIdentity(facts), size: size)
        }
        let disk = device([.worldWideName: "w", .serial: "s"])
        #expect(disk.isSame(as: device([.serial: "s"])) && disk.isSame(as: device([.worldWideName: "w"], 2)))
        #expect(!disk.isSame(as: device([.worldWideName: "x", .serial: "s"])))
        #expect(!disk.isSame(as: device([.serial: "s"], 2)), "serial numbers are not always unique")
        #expect(!disk.isSame(as: device([.deviceMapper: "w"])))
        #expect(
            device([.deviceMapper: "LVM-1"], 1).isSame(as: device([.deviceMapper: "LVM-1"], 2)), "a volume may grow")
        #expect(!device([.named: "n"], 1).isSame(as: device([.named: "n"], 2)))
    }
}
