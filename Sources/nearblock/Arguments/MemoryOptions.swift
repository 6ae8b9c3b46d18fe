import ArgumentParser
import Configuration
import Daemon

/// Options for the memory of a guest that moves with its disks.
struct MemoryOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Move the guest's memory too: a Unix socket that the node makes, and to which QEMU migrates "
                + "(unix:PATH).", valueName: "path"), completion: .file())
    var memory: String?
    @Option(
        help: ArgumentHelp(
            "Name of the guest: at the destination QEMU waits on NAME.sock in --memory-dir.", valueName: "name"))
    var memoryName: String?
    @Flag(help: "Do not keep the memory back until the disks have been copied once.")
    var atOnce = false
    @Option(
        help: ArgumentHelp("Mode of the memory's socket, as in 0660 (default: 0600).", valueName: "mode"),
        transform: FileMode.init)
    var memoryMode: FileMode?
    @Option(
        help: ArgumentHelp("Group of the memory's socket (default: the node's group).", valueName: "group"),
        transform: GroupName.init)
    var memoryGroup: GroupName?

    var isGiven: Bool { memory != nil }

    /// The request to the node; nil if only disks move.
    var request: MemoryRequest? {
        guard let memory, let memoryName else { return nil }
        var request = MemoryRequest(socket: memory, name: memoryName)
        request.isAtOnce = atOnce ? true : nil
        request.mode = memoryMode?.bits
        request.group = memoryGroup?.number
        return request
    }

    func validate() throws {
        guard (memory == nil) == (memoryName == nil) else {
            throw ValidationError(
                "--memory and --memory-name go together: the socket here, and the guest's name there.")
        }
        guard memory != nil || (!atOnce && memoryMode == nil && memoryGroup == nil) else {
            throw ValidationError("--at-once, --memory-mode and --memory-group need --memory.")
        }
    }
}
