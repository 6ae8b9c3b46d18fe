// swift-tools-version: 6.1
import PackageDescription

let nio = Target.Dependency.product(name: "NIOCore", package: "swift-nio")

func modules(_ names: String...) -> [Target.Dependency] { names.map { .product(name: $0, package: "nearblock") } }

/// The modules that each target feeds. `nbd-scripts/test fuzz` builds the target as a library, with coverage and `@testable`
/// in all modules. It links that with libFuzzer, which has the `main`.
let fuzzed: KeyValuePairs = [
    "HandshakeFuzz": modules("NBD"),
    "TransmissionFuzz": modules("NBD"),
    "AnswerFuzz": modules("NBD"),
    "PeerFuzz": modules("PeerModel", "Peer", "MigrationProtocol", "MigrationCore", "Migration", "BlockModel", "Block")
        + [nio],
    "TableFuzz": modules("Hashing", "Index"),
    "MemoryFuzz": modules("MigrationCore"),
    "BatchFuzz": modules("MigrationCore", "MigrationProtocol") + [nio],
    "ValueFuzz": modules(
        "Configuration", "Daemon", "Migration", "MigrationCore", "MigrationProtocol", "PeerModel", "Peer", "BlockModel",
        "Block"),
]

let package = Package(
    name: "fuzz",
    products: fuzzed.map { .library(name: $0.key, type: .static, targets: [$0.key]) },
    dependencies: [
        .package(name: "nearblock", path: "../.."),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
    ],
    targets: fuzzed.map { .target(name: $0.key, dependencies: $0.value) },
    swiftLanguageModes: [.v6]
)
