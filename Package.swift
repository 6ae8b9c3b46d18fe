// swift-tools-version: 6.1
import PackageDescription

/// Swift's own Mutex is invisible to the thread sanitizer on Linux, and every use of it would look like a race.
let locks = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")

let package = Package(
    name: "nearblock",
    products: [
        .executable(name: "nearblock", targets: ["nearblock"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
    ],
    targets: [
        // System libraries, as Debian packages them.
        .systemLibrary(name: "CLiburing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
        .systemLibrary(name: "CLibNBD", pkgConfig: "libnbd", providers: [.apt(["libnbd-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CGLib", pkgConfig: "glib-2.0", providers: [.apt(["libglib2.0-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),

        .target(name: "CLinux"),
        // Has a part that runs before everything else in whatever it is linked into: for the program only.
        .target(name: "CStart"),

        // From the bottom up; docs/architecture.md says what each is for.
        .target(name: "Ring", dependencies: ["CLiburing", "CLinux", locks]),
        .target(name: "Block", dependencies: ["Ring", "CLinux", "CLibNBD", locks]),
        .target(name: "NBD"),
        .target(name: "TLS", dependencies: ["COpenSSL"]),
        .target(name: "NBDServer", dependencies: ["NBD", "TLS", "Block", "Ring", "CLinux", locks]),
        .target(name: "Index", dependencies: ["Block", "CLinux", "COpenSSL", locks]),
        .target(
            name: "Peer",
            dependencies: [
                "TLS", "CLinux", locks, .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOTLS", package: "swift-nio"),
            ]),
        .target(
            name: "Migration",
            dependencies: [
                "Peer", "Index", "Block", "CZstd", locks, .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "Node",
            dependencies: [
                "Migration", "Peer", "Index", "NBDServer", "TLS", "Block", "Ring", locks,
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
            ]),
        .target(name: "Configuration", dependencies: ["Block", "Node", "NBDServer", "TLS", "Peer", "CGLib"]),
        .executableTarget(
            name: "nearblock",
            dependencies: [
                "Block", "CLinux", "CStart", "Configuration", "Node", "Migration", "Peer", "NBDServer", "Index", locks,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // Times look-ups for benchmarks/index.
        .executableTarget(name: "LookUpBenchmark", dependencies: ["Index"], path: "benchmarks/lib/LookUpBenchmark"),

        // What the tests share, then one target for each of those above.
        .target(name: "TestSupport", dependencies: ["CLinux"], path: "Tests/TestSupport"),
        .testTarget(name: "RingTests", dependencies: ["Ring", "TestSupport", locks]),
        .testTarget(name: "BlockTests", dependencies: ["Block", "Ring", "TestSupport", locks]),
        .testTarget(name: "NBDTests", dependencies: ["NBD", "TestSupport"]),
        .testTarget(
            name: "NBDServerTests", dependencies: ["NBDServer", "NBD", "TLS", "Block", "Ring", "TestSupport", locks]),
        .testTarget(name: "IndexTests", dependencies: ["Index", "Block", "CLinux", "TestSupport", locks]),
        .testTarget(
            name: "MigrationTests",
            dependencies: [
                "Migration", "Peer", "TLS", "Index", "Block", "Ring", "TestSupport", locks,
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ]),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Migration", "Index", "Block", "TestSupport", locks, .product(name: "NIOCore", package: "swift-nio"),
            ]),
        .testTarget(
            name: "NodeTests",
            dependencies: ["nearblock", "Node", "Configuration", "Peer", "NBDServer", "TestSupport", locks]),
    ],
    swiftLanguageModes: [.v6]
)

// On the data path, Swift would look up on every access to a session's state whether the same thread is in the middle of
// another. Debug builds do, and have the tests.
for target in package.targets where ["Ring", "Block", "NBDServer"].contains(target.name) {
    target.swiftSettings = [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]
}

// For nbd-scripts/sanitize, which builds twice and tests only these.
if Context.environment["NEARBLOCK_SANITIZE"] != nil {
    let kept = [
        "CLiburing", "CLibNBD", "COpenSSL", "CLinux", "Ring", "Block", "NBD", "TLS", "NBDServer", "TestSupport",
        "RingTests",
        "BlockTests", "NBDServerTests",
    ]
    package.products = []
    package.targets.removeAll { !kept.contains($0.name) }
}

// For nbd-scripts/fuzz, which links it with libFuzzer.
if Context.environment["NEARBLOCK_FUZZ"] != nil {
    let coverage = SwiftSetting.unsafeFlags(["-sanitize=fuzzer", "-enable-testing"])
    for target in package.targets where ["Peer", "Migration", "Index", "Node", "Configuration"].contains(target.name) {
        target.swiftSettings = [coverage]
    }
    let others = ["corpus", "nbd.dict", "HandshakeFuzz.swift", "TransmissionFuzz.swift"]
    package.products += ["PeerFuzz", "TableFuzz", "ValueFuzz"].map { .library(name: $0, type: .static, targets: [$0]) }
    package.targets += [
        .target(
            name: "PeerFuzz",
            dependencies: ["Peer", "Migration", "Block", .product(name: "NIOCore", package: "swift-nio")],
            path: "Tests/Fuzz", exclude: others + ["TableFuzz.swift", "ValueFuzz.swift"], sources: ["PeerFuzz.swift"],
            swiftSettings: [coverage]),
        .target(
            name: "TableFuzz", dependencies: ["Index"], path: "Tests/Fuzz",
            exclude: others + ["PeerFuzz.swift", "ValueFuzz.swift"], sources: ["TableFuzz.swift"],
            swiftSettings: [coverage]),
        .target(
            name: "ValueFuzz", dependencies: ["Configuration", "Node", "Migration", "Peer", "Block"],
            path: "Tests/Fuzz", exclude: others + ["PeerFuzz.swift", "TableFuzz.swift"], sources: ["ValueFuzz.swift"],
            swiftSettings: [coverage]),
    ]
}
