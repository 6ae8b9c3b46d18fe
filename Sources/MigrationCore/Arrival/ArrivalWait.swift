/// Work of the driver that waits until `ArrivalMachine` says how it goes on.
package struct ArrivalWait: Hashable, Sendable {
    let number: UInt64
}
