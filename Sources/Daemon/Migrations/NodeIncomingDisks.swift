import Block
import Migration
import NBDServer
import NIOConcurrencyHelpers

/// The node as the host of its `IncomingDiskRegistry`. Does not keep the node alive.
struct NodeIncomingDisks: IncomingDiskHost {
    private weak var node: Node?
    private let table: ExportTable
    /// Exports that are not served until the operator decides.
    private let heldBack: NIOLockedValueBox<[String: String]>

    init(node: Node, table: ExportTable, heldBack: NIOLockedValueBox<[String: String]>) {
        self.node = node
        self.table = table
        self.heldBack = heldBack
    }

    func isNameTaken(_ export: String) -> Bool {
        table.find(export)?.description.name == export || heldBack.withLockedValue { $0[export] != nil }
    }

    func announce(_ export: String, size: UInt64, device: BlockDevice) async throws -> Disk {
        guard let node else { throw CancellationError() }
        return try await node.announce(export, size, device)
    }

    func withdraw(_ export: String) async { await node?.withdraw(export) }

    func base(of export: String, isRestored: Bool) async -> ImageBase? {
        await node?.base(export, isRestored: isRestored)
    }

    func activate(_ disk: ReceivedDisk) async throws -> Disk {
        guard let node else { throw CancellationError() }
        return try await node.addArrived(disk)
    }

    func image(of export: String) async -> (any DiskImage)? { await node?.exports[export]?.backing?.image }

    func export(with image: any DiskImage) async -> String? { await node?.export(with: image) }

    func open(_ location: String, format: String?, for export: String) async throws -> any DiskImage {
        guard let node else { throw CancellationError() }
        return try await node.open(location, format: format, for: export)
    }

    func completed(_ export: String) async { await node?.completed(export) }
}
