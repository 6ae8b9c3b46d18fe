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
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
    ],
    targets: [
        // System libraries, as Debian packages them.
        .systemLibrary(name: "CLiburing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
        .systemLibrary(name: "CLibNBD", pkgConfig: "libnbd", providers: [.apt(["libnbd-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CGLib", pkgConfig: "glib-2.0", providers: [.apt(["libglib2.0-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CBlkid", pkgConfig: "blkid", providers: [.apt(["libblkid-dev"])]),
        .systemLibrary(name: "CExt2FS", pkgConfig: "ext2fs", providers: [.apt(["libext2fs-dev"])]),

        .target(name: "CLinux"),
        // Has a part that runs before everything else in whatever it is linked into: for the program only.
        .target(name: "CStart"),

        // From the bottom up; docs/architecture.md says what each is for.
        .target(name: "Ring", dependencies: ["CLiburing", "CLinux", locks]),
        .target(name: "Hashing", dependencies: ["COpenSSL"]),
        .target(name: "BlockModel"),
        .target(name: "NBD"),
        .target(name: "Block", dependencies: ["BlockModel", "NBD", "Ring", "CLinux", "CLibNBD", locks]),
        .target(name: "StorageDaemon", dependencies: ["Block", "Rados", "CLinux", locks]),
        .target(name: "FreeSpace", dependencies: ["BlockModel", "CBlkid", "CExt2FS", "CLinux"]),
        .target(name: "TLS", dependencies: ["COpenSSL"]),
        .target(name: "NBDServer", dependencies: ["NBD", "TLS", "BlockModel", "Block", "Ring", "CLinux", locks]),
        .target(
            name: "Index",
            dependencies: [
                "Hashing", "BlockModel", "Block", "StorageDaemon", "CLinux", locks,
                .product(name: "Metrics", package: "swift-metrics"),
            ]),
        // Ceph's libraries are loaded when they are first used.
        .target(name: "Rados", dependencies: [locks]),
        .target(name: "Site", dependencies: ["Index", "Rados", "Block", "StorageDaemon", "CLinux", locks]),
        .target(name: "PeerModel"),
        .target(
            name: "Peer",
            dependencies: [
                "PeerModel", "TLS", "CLinux", locks, .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOTLS", package: "swift-nio"),
            ]),
        // Both are pure: Tests/System/lint knows the few modules that they may import.
        .target(
            name: "MigrationProtocol",
            dependencies: ["Hashing", "BlockModel", "PeerModel", .product(name: "NIOCore", package: "swift-nio")]),
        .target(
            name: "MigrationCore",
            dependencies: [
                "MigrationProtocol", "Hashing", "BlockModel", "PeerModel",
                .product(name: "NIOCore", package: "swift-nio"),
            ]),
        .target(
            name: "Migration",
            dependencies: [
                "MigrationCore", "MigrationProtocol", "Peer", "PeerModel", "Index", "Hashing", "BlockModel", "Block",
                "CZstd", locks, .product(name: "Logging", package: "swift-log"),
            ]),
        // Knows nothing of disks: Prometheus' text format, and a small HTTP server with the block map's page.
        .target(
            name: "Monitoring",
            dependencies: [
                "Peer", "PeerModel", locks, .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ], resources: [.embedInCode("Page")]),
        .target(
            name: "Daemon",
            dependencies: [
                "Migration", "MigrationCore", "MigrationProtocol", "Monitoring", "Peer", "PeerModel", "Index", "Site",
                "Rados", "Hashing",
                "NBDServer", "TLS", "BlockModel", "Block", "StorageDaemon", "FreeSpace", "Ring", locks,
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
            ]),
        .target(
            name: "Configuration",
            dependencies: [
                "BlockModel", "Block", "Migration", "Daemon", "Monitoring", "NBDServer", "TLS", "PeerModel", "Peer",
                "CGLib",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(
            name: "nearblock",
            dependencies: [
                "BlockModel", "Block", "CGLib", "CLinux", "CStart", "Configuration", "Daemon", "FreeSpace",
                "MigrationProtocol", "Migration", "Monitoring",
                "PeerModel", "Peer", "NBDServer", "Hashing", "Index", "Ring", "Site", "StorageDaemon", "TLS", locks,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // Times look-ups for benchmarks/index.
        .executableTarget(
            name: "LookupBenchmark", dependencies: ["Hashing", "Index", "IndexSamples"],
            path: "benchmarks/lib/LookupBenchmark"),

        // Times the samples of a site for benchmarks/site.
        .executableTarget(
            name: "SiteBenchmark", dependencies: ["Hashing", "Index", "IndexSamples"],
            path: "benchmarks/lib/SiteBenchmark"),

        // Questions for an index, which both take from its tables.
        .target(name: "IndexSamples", dependencies: ["Hashing", "Index"], path: "benchmarks/lib/IndexSamples"),

        // Times the description of memory in tokens for benchmarks/memory-stream.
        .executableTarget(
            name: "MemoryBenchmark",
            dependencies: [
                "Hashing", "MigrationProtocol", "MigrationCore", .product(name: "NIOCore", package: "swift-nio"),
            ], path: "benchmarks/lib/MemoryBenchmark"),

        // What the tests share, then one target for each of those above.
        .target(name: "TestSupport", dependencies: ["CLinux"], path: "Tests/TestSupport"),
        .testTarget(name: "RingTests", dependencies: ["Ring", "TestSupport", locks]),
        .testTarget(
            name: "BlockTests", dependencies: ["BlockModel", "Block", "NBD", "Ring", "CLinux", "TestSupport", locks]),
        .testTarget(
            name: "StorageDaemonTests", dependencies: ["StorageDaemon", "Block", "Ring", "TestSupport", locks]),
        .testTarget(name: "FreeSpaceTests", dependencies: ["nearblock", "FreeSpace", "BlockModel", "TestSupport"]),
        .testTarget(name: "NBDTests", dependencies: ["NBD", "TestSupport"]),
        .testTarget(
            name: "NBDServerTests",
            dependencies: ["NBDServer", "NBD", "TLS", "BlockModel", "Block", "Ring", "TestSupport", locks]),
        .testTarget(
            name: "IndexTests",
            dependencies: ["Index", "Hashing", "BlockModel", "Block", "CLinux", "TestSupport", locks]),
        .testTarget(
            name: "SiteTests",
            dependencies: [
                "Site", "Rados", "Index", "Hashing", "BlockModel", "Block", "StorageDaemon", "TestSupport", locks,
            ]
        ),
        .testTarget(
            name: "MigrationProtocolTests",
            dependencies: ["MigrationProtocol", "Hashing", "BlockModel", "PeerModel", "TestSupport"]),
        .testTarget(
            name: "MigrationCoreTests",
            dependencies: ["MigrationCore", "MigrationProtocol", "Hashing", "BlockModel", "PeerModel", "TestSupport"]),
        .testTarget(
            name: "MigrationTests",
            dependencies: [
                "Migration", "MigrationCore", "MigrationProtocol", "Peer", "PeerModel", "TLS", "Index", "Hashing",
                "BlockModel",
                "Block", "Ring", "TestSupport", locks,
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ]),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Migration", "MigrationCore", "MigrationProtocol", "Hashing", "BlockModel", "Block", "TestSupport",
                locks,
                .product(name: "NIOCore", package: "swift-nio"),
            ]),
        .testTarget(
            name: "MonitoringTests",
            dependencies: [
                "Monitoring", "PeerModel", "TestSupport", locks,
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .testTarget(
            name: "DaemonTests",
            dependencies: [
                "nearblock", "Daemon", "Configuration", "Migration", "MigrationProtocol", "Monitoring", "PeerModel",
                "Peer",
                "Site", "Rados", "StorageDaemon", "NBDServer",
                "BlockModel",
                "Block", "FreeSpace", "Ring", "TestSupport", locks,
            ]),
    ],
    swiftLanguageModes: [.v6]
)

// On the data path, Swift would look up on every access to a session's state whether the same thread is in the middle of
// another. Debug builds do, and have the tests.
for target in package.targets where ["Ring", "BlockModel", "Block", "NBDServer"].contains(target.name) {
    target.swiftSettings = [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]
}

// For Tests/Fuzz only: a package sees no more of another than its products. Nobody else is to depend on these libraries.
package.products += [
    "NBD", "Hashing", "BlockModel", "Block", "Index", "PeerModel", "Peer", "MigrationProtocol", "MigrationCore",
    "Migration", "Daemon", "Configuration",
].map {
    .library(name: $0, targets: [$0])
}
