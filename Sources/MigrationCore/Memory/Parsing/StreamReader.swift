/// Understands the items of one direction of one connection of a hypervisor.
protocol StreamReader: Sendable {
    init()

    /// The next item.
    /// - Parameter bytes: the stream from the item on, at least 1 byte. `StreamItem.mostBytes` are enough for any item.
    mutating func next(_ bytes: UnsafeRawBufferPointer) -> StreamStep

    /// The stage that the stream has reached.
    var stage: MemoryStage { get }
}
