/// The message that the page gets each second.
struct PageEvent: Encodable, Sendable {
    /// Seconds since 1970.
    let time: Double
    /// Name of this machine.
    let host: String
    /// Clients of all exports.
    let clients: Int
    let exports: [PageExport]
    /// Exports that are left out.
    let more: Int
}
