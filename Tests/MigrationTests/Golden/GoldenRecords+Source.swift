import Block
import Peer
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// What a source keeps.
enum GoldenRecords {
    /// The image of the records here.
    static let image = RecordedImage(
        identity: ImageIdentity(
            file: FileIdentity(
                fileSystem: FileSystemIdentity(uuid: "00112233445566778899aabbccddeeff", id: "abc123"), inode: 42,
                birthTime: 1_700_000_000_000_000_000),
            size: 1 << 30),
        path: "/disks/a.raw", realPath: "/srv/a.raw")
    /// As a part of a record.
    static let imageText = """
        {
            "identity" : {
              "file" : {
                "birthTime" : 1700000000000000000,
                "fileSystem" : {
                  "id" : "abc123",
                  "uuid" : "00112233445566778899aabbccddeeff"
                },
                "inode" : 42
              },
              "size" : 1073741824
            },
            "path" : "/disks/a.raw",
            "realPath" : "/srv/a.raw"
          }
        """
    static let address = PeerAddress(host: "2001:db8::1", port: 10810)

    static let source: [GoldenRecord] = [
        GoldenRecord(
            "a disk that has moved", MovedRecord.self,
            """
            {
              "birthTime" : 1700000000000000000,
              "blockSize" : 4096,
              "destination" : {
                "host" : "2001:db8::1",
                "port" : 10810
              },
              "export" : "disk",
              "group" : {
                "high" : 1,
                "low" : 2
              },
              "handedTo" : {
                "host" : "b.example",
                "port" : 7
              },
              "image" : \(imageText),
              "inode" : 42,
              "migration" : {
                "high" : 81985529216486895,
                "low" : 18364758544493064720
              },
              "rate" : 100000000,
              "root" : "\(GoldenValues.rootHex)"
            }
            """
        ) { record in
            #expect(record.export == "disk")
            #expect(record.image == image)
            #expect(record.inode == 42)
            #expect(record.birthTime == 1_700_000_000_000_000_000)
            #expect(record.migration == GoldenValues.first)
            #expect(record.destination == address)
            #expect(record.handedTo == PeerAddress(host: "b.example", port: 7))
            #expect(record.root == GoldenValues.rootHex)
            #expect(record.blockSize == 4096)
            #expect(record.rate == 100_000_000)
            #expect(record.group == GoldenValues.second)
        },
        GoldenRecord(
            "a disk that has moved, of a release that knew an image by its inode", MovedRecord.self,
            """
            {
              "destination" : {
                "host" : "::1",
                "port" : 7
              },
              "export" : "",
              "inode" : 42,
              "migration" : {
                "high" : 1,
                "low" : 2
              },
              "root" : ""
            }
            """
        ) { record in
            #expect(record.image == nil)
            #expect(record.inode == 42)
            #expect(record.birthTime == nil)
            #expect(record.migration == GoldenValues.second)
            #expect(record.isReleased)
            #expect(record.group == nil)
            #expect(record.handedTo == nil)
            #expect(record.rate == nil)
        },
        GoldenRecord(
            "migrations that were begun", AttemptRecord.self,
            """
            {
              "attempts" : [
                {
                  "destination" : {
                    "host" : "2001:db8::1",
                    "port" : 10810
                  },
                  "migration" : {
                    "high" : 1,
                    "low" : 2
                  }
                }
              ],
              "image" : {
                "path" : "/disks/a.raw"
              }
            }
            """
        ) { record in
            #expect(record.image == RecordedImage(identity: nil, path: "/disks/a.raw"))
            #expect(record.attempts.map(\.migration) == [GoldenValues.second])
            #expect(record.attempts.map(\.destination) == [address])
        },
        GoldenRecord(
            "a disk that has moved but for some blocks, which begin where its partitions do", MovedRecord.self,
            """
            {
              "blockSize" : 4096,
              "destination" : {
                "host" : "::1",
                "port" : 7
              },
              "export" : "",
              "inode" : 42,
              "migration" : {
                "high" : 1,
                "low" : 2
              },
              "origins" : [
                32256
              ],
              "root" : ""
            }
            """
        ) { record in
            #expect(record.blocks(ofDisk: 1 << 30)?.origins == [32_256])
            #expect(record.blocks(ofDisk: 1 << 30)?.diskSize == 1 << 30)
            #expect(!record.isReleased && record.isPossible)
        },
        GoldenRecord(
            "migrations that were begun, of a release that did not note the image", AttemptRecord.self,
            """
            {
              "attempts" : [
                {
                  "destination" : {
                    "host" : "b",
                    "port" : 7
                  },
                  "migration" : {
                    "high" : 1,
                    "low" : 2
                  }
                }
              ]
            }
            """
        ) { record in
            #expect(record.image == nil)
            #expect(record.attempts.map(\.destination) == [PeerAddress(host: "b", port: 7)])
        },
        GoldenRecord(
            "the word of a group", [String: MigrationID].self,
            """
            {
              "group" : {
                "high" : 1,
                "low" : 2
              }
            }
            """
        ) { record in
            #expect(record == ["group": GoldenValues.second])
        },
    ]
}
