import CLinux
import Foundation
import Glibc

/// Reads the facts that the kernel and udev have about block devices: sysfs(5),
/// `Documentation/ABI/stable/sysfs-block`.
struct SystemDevices {
    /// The most devices over devices that are followed.
    private static let maximumDepth = 8

    /// The folder where sysfs is mounted.
    var sysfs = "/sys"
    /// The folder of udev's database.
    var udev = "/run/udev/data"

    /// Finds the facts that tell an open block device from others; none may be known.
    func identify(_ descriptor: CInt, number: UInt64) -> (file: FileIdentity?, device: DeviceIdentity) {
        let (major, minor) = (linux_major(number), linux_minor(number))
        let folder = "\(sysfs)/dev/block/\(major):\(minor)"
        var device = facts(of: folder, major: major, minor: minor)
        guard let backing = attribute("loop/backing_file", of: folder) else { return (nil, device) }
        let place =
            "offset \(attribute("loop/offset", of: folder) ?? "0")"
            + " limit \(attribute("loop/sizelimit", of: folder) ?? "0")"
        guard let file = backingFile(backing, of: descriptor) else {
            // The backing file is behind another mount or deleted, so nothing identifies this device for certain.
            return (nil, device)
        }
        device[.loop] = place
        return (file, device)
    }

    /// Reads the facts about the device of a folder in sysfs, except for a loop device's file.
    func facts(of folder: String, major: UInt32, minor: UInt32, depth: Int = 0) -> DeviceIdentity {
        var device = DeviceIdentity()
        device[.deviceMapper] = attribute("dm/uuid", of: folder)
        device[.array] = attribute("md/uuid", of: folder) ?? udevValue("MD_UUID", major: major, minor: minor)
        if let start = attribute("start", of: folder), attribute("partition", of: folder) != nil {
            device[.partitionUUID] =
                ueventValue("PARTUUID", of: folder)
                ?? udevValue("ID_PART_ENTRY_UUID", major: major, minor: minor)
            device[.partition] = diskOfPartition(folder, depth).map { "at \(start) of \($0)" }
            return device
        }
        device[.worldWideName] = attribute("wwid", of: folder) ?? attribute("device/wwid", of: folder)
        device[.serial] = (attribute("serial", of: folder) ?? attribute("device/serial", of: folder))
            .flatMap { $0.allSatisfy { $0 == "0" } ? nil : $0 }
        return device
    }

    /// The strongest fact about the disk of a partition; nil if none is known.
    private func diskOfPartition(_ folder: String, _ depth: Int) -> String? {
        guard depth < Self.maximumDepth, let resolved = realpath(folder, nil) else { return nil }
        defer { free(resolved) }
        let disk = (String(cString: resolved) as NSString).deletingLastPathComponent
        let number = (attribute("dev", of: disk) ?? "").split(separator: ":").compactMap { UInt32($0) }
        guard number.count == 2 else { return nil }
        return facts(of: disk, major: number[0], minor: number[1], depth: depth + 1).strongest
    }

    /// The identity of the file behind a loop device; nil if the file is no longer at its path.
    private func backingFile(_ path: String, of loop: CInt) -> FileIdentity? {
        var (device, inode): (UInt64, UInt64) = (0, 0)
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var info = stat()
        guard linux_loop_backing(loop, &device, &inode) == 0, fstat(descriptor, &info) == 0,
            UInt64(info.st_dev) == device, UInt64(info.st_ino) == inode, info.st_mode & S_IFMT == S_IFREG
        else { return nil }
        return FileIdentity(of: descriptor, info)
    }

    /// The contents of a file in sysfs without white space around them; nil if there is no such file or it is empty.
    private func attribute(_ name: String, of folder: String) -> String? {
        guard let text = try? String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8) else { return nil }
        let value = text.trimmingCharacters(in: .whitespacesAndNewlines.union(CharacterSet(charactersIn: "\0")))
        return value.isEmpty ? nil : value
    }

    private func ueventValue(_ key: String, of folder: String) -> String? {
        Self.value(of: "\(key)=", in: attribute("uevent", of: folder))
    }

    private func udevValue(_ key: String, major: UInt32, minor: UInt32) -> String? {
        Self.value(of: "E:\(key)=", in: attribute("b\(major):\(minor)", of: udev))
    }

    private static func value(of prefix: String, in text: String?) -> String? {
        text?.split(separator: "\n").first { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    }
}
