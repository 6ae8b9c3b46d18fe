import ArgumentParser
import Configuration
import Daemon
import Migration
import PeerModel

/// `nearblock memory`.
struct MemoryMoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory",
        abstract: "Move a guest's memory; its disks are at both nodes.",
        usage: "nearblock memory [<exports> ...] --to <host:port> [<options>]",
        discussion: HelpText.text(
            """
            Makes the socket, waits until the hypervisor has migrated to it, and succeeds only if the hypervisor at the \
            destination has got every byte. Pages that equal a block of the named disks cross as references. Ctrl-C \
            ends it; the guest then goes on here.
            """,
            examples: "nearblock memory root --to b:7000 --memory /run/vm.mem --memory-name vm",
            "nearblock memory root --to b:7000 --memory /run/vm.mem --memory-name vm --rate 1G"))

    @Argument(help: "Exports that both nodes serve: the guest's disks.", completion: ExportNames.completion)
    var exports: [String] = []
    @Option(help: ArgumentHelp("Address that the destination has as --peer-listen.", valueName: "host:port"))
    var to: PeerAddress
    @OptionGroup var memory: MemoryOptions
    @Option(
        help: ArgumentHelp("Send at most this many bits a second, as in 100M.", valueName: "rate"),
        transform: BitRate.init)
    var rate: BitRate?
    @Flag(help: "Print one JSON object on standard output at the end.")
    var json = false
    @OptionGroup var node: ControlOption

    func validate() throws {
        guard memory.isGiven else { throw ValidationError("give --memory PATH and --memory-name NAME.") }
        guard !memory.atOnce else {
            throw ValidationError("--at-once is for disks that move with the memory; leave it out.")
        }
    }

    func run() async throws {
        guard let request = memory.request else { return }
        let command = MemoryCommand(exports: exports, destination: to, memory: request, rate: rate?.bitsPerSecond)
        guard case .memory(let status) = try await node.ask(.memory(command)) else { return }
        if json { return try JSON.print(status) }
        print(
            "\(status.name)  \(Format.bytes(status.stream)) of memory, \(Format.bytes(status.wire)) on the wire: "
                + "\(Format.bytes(status.zero)) zero, \(Format.bytes(status.disk)) on its disks, "
                + "\(Format.bytes(status.repeated)) sent before, \(Format.bytes(status.link)) sent")
    }
}
