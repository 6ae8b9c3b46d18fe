import Block

/// What a disk needs that is handed over before all of it is there.
struct ArrivalParts: Sendable {
    let store: PresentMapStore
    let manifest: FingerprintFile
}
