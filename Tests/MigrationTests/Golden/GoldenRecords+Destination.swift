import Block
import Peer
import Testing

@testable import Migration
@testable import MigrationProtocol

/// What a destination keeps, and what both know an image by.
extension GoldenRecords {
    static let destination: [GoldenRecord] = [
        GoldenRecord(
            "a disk that has come", IncomingRecord.self,
            """
            {
              "aliases" : [
                {
                  "high" : 5,
                  "low" : 6
                }
              ],
              "arrived" : {
                "link" : 5,
                "neighbour" : 4,
                "present" : 2,
                "repeated" : 3,
                "zero" : 1
              },
              "bitmap" : "day",
              "blockSize" : 4096,
              "earlier" : [
                {
                  "high" : 3,
                  "low" : 4
                }
              ],
              "export" : "disk",
              "image" : \(imageText),
              "imagePath" : "/disks/a.raw",
              "inode" : 42,
              "isReadOnly" : true,
              "migration" : {
                "high" : 1,
                "low" : 2
              },
              "phase" : "active",
              "place" : "format=raw /dev/vg/disk",
              "root" : "\(GoldenValues.rootHex)",
              "size" : 1073741824,
              "supersedes" : {
                "high" : 81985529216486895,
                "low" : 18364758544493064720
              }
            }
            """
        ) { record in
            #expect(record.phase == .active)
            #expect(record.migration == GoldenValues.second)
            #expect(record.export == "disk")
            #expect(record.size == 1 << 30)
            #expect(record.root == GoldenValues.rootHex)
            #expect(record.blockSize == 4096)
            #expect(record.bitmap == "day")
            #expect(record.arrived == Ledger(zero: 1, present: 2, repeated: 3, neighbour: 4, link: 5))
            #expect(record.imagePath == "/disks/a.raw")
            #expect(record.supersedes == GoldenValues.first)
            #expect(record.image == image)
            #expect(record.inode == 42)
            #expect(record.place == "format=raw /dev/vg/disk")
            #expect(record.isReadOnly == true)
            #expect(record.earlier == [GoldenValues.migration(3, 4)])
            #expect(record.aliases == [GoldenValues.migration(5, 6)])
        },
        GoldenRecord(
            "a disk that waits for its source, of the first releases", IncomingRecord.self,
            """
            {
              "export" : "disk",
              "migration" : {
                "high" : 1,
                "low" : 2
              },
              "phase" : "prepared",
              "root" : "",
              "size" : 8192
            }
            """
        ) { record in
            #expect(record.phase == .prepared)
            #expect(record.size == 8192)
            #expect(!record.knowsImage)
            #expect(!record.needsSource)
            #expect(!record.isReturn)
            #expect(record.known == [GoldenValues.second])
            #expect(record.isReadOnly == nil)
            #expect(record.bitmap == nil)
            #expect(record.place == nil)
        },
        GoldenRecord(
            "a place that was made for a disk", TargetRecord.self,
            """
            {
              "arrival" : "00000000000000010000000000000002",
              "domain" : "fast",
              "export" : "disk",
              "isReleasing" : true,
              "place" : "/dev/vg/disk",
              "size" : 8192
            }
            """
        ) { record in
            #expect(record.arrival == "00000000000000010000000000000002")
            #expect(record.export == "disk" && record.size == 8192)
            #expect(record.domain == "fast" && record.place == "/dev/vg/disk" && record.isReleasing == true)
        },
        GoldenRecord(
            "a disk that lacks blocks, which begin where its partitions do", IncomingRecord.self,
            """
            {
              "blockSize" : 4096,
              "export" : "disk",
              "migration" : {
                "high" : 1,
                "low" : 2
              },
              "origins" : [
                32256,
                1049088
              ],
              "phase" : "prepared",
              "root" : "",
              "size" : 1073741824
            }
            """
        ) { record in
            #expect(record.blocks?.origins == [32_256, 1_049_088])
            #expect(record.blocks?.diskSize == 1 << 30)
            #expect(record.needsSource)
        },
    ]

    static let images: [GoldenRecord] = [
        GoldenRecord(
            "a device of which everything is known", RecordedImage.self,
            """
            {
              "identity" : {
                "device" : {
                  "facts" : {
                    "dm-uuid" : "LVM-x",
                    "loop" : "0 0",
                    "md-uuid" : "m",
                    "name" : "n",
                    "partition" : "2048 wwid w",
                    "partition-uuid" : "p",
                    "serial" : "s",
                    "wwid" : "w"
                  }
                },
                "size" : 512
              },
              "path" : "/dev/x"
            }
            """
        ) { record in
            #expect(
                record.identity
                    == ImageIdentity(
                        device: DeviceIdentity([
                            .named: "n", .deviceMapper: "LVM-x", .array: "m", .worldWideName: "w", .serial: "s",
                            .partitionUUID: "p", .partition: "2048 wwid w", .loop: "0 0",
                        ]), size: 512))
        },
        GoldenRecord(
            "a file on a network file system", RecordedImage.self,
            """
            {
              "identity" : {
                "file" : {
                  "fileSystem" : {
                    "source" : "nfs4 server:/export"
                  },
                  "inode" : 7
                },
                "size" : 512
              }
            }
            """
        ) { record in
            #expect(record.path == nil)
            #expect(record.realPath == nil)
            #expect(
                record.identity?.file
                    == FileIdentity(
                        fileSystem: FileSystemIdentity(source: "nfs4 server:/export"), inode: 7, birthTime: nil))
        },
    ]
}
