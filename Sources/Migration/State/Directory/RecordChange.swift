/// A record that is locked against other changes; see `StateDirectory.changing`. Valid only during that call.
struct RecordChange {
    let directory: StateDirectory
    let name: String

    /// The record; nil if there is none.
    /// - Throws: as `StateDirectory.read`.
    func read<Record: Decodable>(_ type: Record.Type) throws -> Record? { try directory.read(type, from: name) }

    /// Writes the record; it is durable on return.
    /// - Throws: as `StateDirectory.write`.
    func write(_ record: some Encodable) throws { try directory.replace(name, with: StateDirectory.encode(record)) }

    /// Writes the record again as it is.
    /// - Throws: as `StateDirectory.write`.
    func confirm() throws {
        guard let data = try directory.contents(of: name) else { return }
        try directory.replace(name, with: data)
    }

    /// Removes the record; durable on return.
    /// - Throws: as `StateDirectory.remove`.
    func remove() throws { try directory.erase(name) }

    /// Removes the record, which may not be there, so that no later life finds it.
    /// - Parameter record: what it may hold meanwhile.
    /// - Throws: as `StateDirectory.remove`.
    func remove(holding record: some Encodable) throws {
        if try !directory.exists(name) { directory.doubt(name, holding: try StateDirectory.encode(record)) }
        try remove()
    }
}
