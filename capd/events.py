"""What capd says, by kind: each has a level, and the MESSAGE_ID under which the journal knows it.

The catalog (systemd/capd.catalog) explains every kind to `journalctl -x`.  An id never changes
its meaning.  How a message reaches the journal or the terminal is `journal`'s business.
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """A kind of message; the value is its MESSAGE_ID and its level."""

    # the daemon is up and captures
    STARTED = "60509c71df5f45d483b7044d8e4cbe45", "info"
    # the daemon ends before it has captured anything
    NOT_STARTED = "e46ad4f386694fc28090cb396f843a51", "error"
    # the daemon ends, and has drained its rings
    STOPPED = "e4af6e5602bd4847be4a47a1986b2db4", "info"
    # a ring was opened
    CAPTURING = "786a79f002bd4c8c8c4191baa5e58303", "info"
    # a ring that outlived the daemon before is drained again
    ADOPTED = "3e03d68c306142c28f7b9698213c8052", "info"
    # a ring was drained and let go: where its packets went
    FINISHED = "aafeb776a32e4fcab918c31f28e24425", "info"
    # an entry of the config means no interface at present
    WAITING = "3f60b00cd4744083b52d3296ebce1fd9", "warning"
    # an interface that is there cannot be captured
    CANNOT_CAPTURE = "18f21d1c6ea44373b61227eea598ceb8", "warning"
    # the machine's interfaces could not be looked at
    CANNOT_LOOK = "6f43798049d14dec801827e6c064f4c2", "warning"
    # the system clock was set
    CLOCK_SET = "58e3cce366dc4bf7b7a47f0bb02c6d84", "warning"
    # it is far ahead of what is known, and not believed yet: segments stay beyond max_age
    CLOCK_DOUBTED = "307d9c1fd9bc412db25864f5c0dcc920", "warning"
    # something in the config works and is probably not meant
    DOUBT = "8987a4deada54a2b9b51efecbd9d87d4", "warning"
    # processes of two versions of capd run side by side
    VERSIONS = "1e2e819b70bf4c7fb83e6ac56afc5e76", "warning"
    # another config is in force
    RELOADED = "69899f404b15441fa07d556bac89b713", "info"
    # the config file is bad: the one before stays in force
    RELOAD_REFUSED = "3cdd8c90baa94087a88a78b1baf8bc9c", "error"
    # started under the last good config, as the file is bad
    OLD_CONFIG = "93b2c3e76ec0473ba4592a4b72e12547", "error"
    # another filter is in force from now on
    FILTER = "88da6bbbd3c14686a5fc29ac93fcbd6b", "info"
    # another ring took over at an instant
    RING_CHANGED = "51be5e71dce345c1a2220e9a6bb61a00", "info"
    # a worker is gone without having finished
    WORKER_DIED = "21046c99a93b40678f146a6b81fe6be9", "error"
    # a worker makes no progress and is replaced
    WORKER_SILENT = "9d1f8383f11c46a4a316d6d47efd925f", "error"
    # a worker went on where another stopped: the pause
    WENT_ON = "03d4f1d24d244fb5b446b59449c57e72", "info"
    # an interface gave no packets for a while, or nobody took them
    GAP = "b12d96d608d340f7a3bc8a6b4fee089f", "warning"
    # somebody is about to be given packets: who, which
    EXTRACTING = "bd41326dd2f2404f8b199b030d153431", "info"
    # somebody was given packets: who, which, how many
    EXTRACTED = "0b6c8a5e8f0f4a8ba3d1c1a7c2e95d47", "info"
    # packets were lost: how many, where, why
    LOSS = "230529dbd1a44f0fbfb6615de84beaaf", "warning"
    # too much was lost within a time
    ALERT = "58a70f97a12b47e78840821b5e49bacb", "error"
    # and no more
    ALL_CLEAR = "a4adad3394d1497b8b8359116cbdf2ee", "warning"
    # a command of the config was run for an event
    DELIVERED = "8d118aabfc42419ca6601d6a4a618ca0", "info"
    # a command of the config failed: nobody was told
    NOT_DELIVERED = "021716821e1d484a8cb02d9cd6992063", "error"
    # a new [hook] command is run for segments from now on
    HOOK_BEGINS = "b4db2070210a4da89298f6863aa80603", "info"
    # the [hook] command failed for a segment
    HOOK_FAILED = "526e91e276e9437fb856da9cafd3ef2b", "error"
    # it works again
    HOOK_WORKS = "2963cfd71b4141e990e4a6399f7a379d", "info"
    # segments are gone for which the [hook] command was never done
    HOOK_MISSED = "2f1f250af3af4321b6f22186019904a0", "error"
    # segments cannot be handed to the [hook] command at all
    HOOK_TROUBLE = "f4f5b78bba4c45848c5dce6440accccf", "error"
    # packets were written, but not whole: they are larger than a block of the ring
    CUT_SHORT = "d0d2115677b945dcb18152aa2cfaf995", "warning"
    # an interface is down, or gone
    LINK_DOWN = "5614a0fd38a2407f9ec814bbbbf6dfd7", "warning"
    # an interface reports an error
    LINK_TROUBLE = "129bcf03300a488ab0f6f357f3de22e1", "warning"
    # the disk takes nothing; packets wait in the ring
    DISK_REFUSES = "d5cf4920d57645088c7f82c064270f2b", "error"
    # the ring is nearly full: packets are given up
    DISK_LOSES = "fd2f8bc343e84eb7a1604f1304e7e81c", "error"
    # the disk takes packets again
    DISK_RECOVERED = "d92d6e50ad484b29accb2693a90f4d3e", "warning"
    # a file could not be made, named, confirmed or closed
    FILE_TROUBLE = "59c7a9a604104c6e92341917376a36ff", "error"
    # the file system does not take O_DIRECT
    NOT_DIRECT = "0b8d7dc2042f4dd6adea298abd722c0b", "warning"
    # segments were deleted, as retention asks
    DELETED = "784294abb4d24f52abd8dc1b3217f410", "info"
    # something could not be deleted, or looked at
    CANNOT_DELETE = "d893d1b5fb8c4b4ca86c0c99e705794e", "error"
    # everything that may be deleted is, and the disk is fuller than it should be
    NOTHING_LEFT = "c8d38749305f43488e256d92cc135136", "error"
    # the disk has the room that it should have again
    ROOM_AGAIN = "632ec38869b246e99d9ce376f1128ffb", "warning"
    # a segment that a run left unfinished was closed and named
    RECOVERED = "96a01b905b3f49a68c2d55c390447698", "warning"
    # the process that indexes, compresses and salvages is gone
    ARCHIVE_DIED = "3c1f6164ec5e496ebef61d4e6668b930", "error"
    # a ring could not be drained, or not be taken over
    RING_LOST = "8aad56a8f32e40f3859d9ab3a82a3714", "error"
    # a segment could not be indexed or compressed; it stays as it is, and is tried again
    ARCHIVE_TROUBLE = "731d9a027abb42f190b32b078adc5372", "error"
    # somebody holds a range of time: retention leaves its segments alone
    HOLD_MADE = "8fcec36243aa4545b61bf4d344458fdb", "info"
    # somebody has released a hold
    HOLD_RELEASED = "65aaa30ee5c24bcf981e1b9a6a71138b", "warning"
    # the time that a hold was made for is over
    HOLD_EXPIRED = "c5ba3d798d954c999031dc6c700e685f", "warning"
    # the reaper heeds another hold, or one less
    HOLDS_CHANGED = "763c35a362d64d5d88ada72126ccd896", "info"
    # a file cannot be understood as a hold, or holds cannot be read
    HOLD_UNCLEAR = "eaafed7f3ce44f91a79335c8d09012b8", "error"
    # segments cannot move to the second directory, and stay where they are
    CANNOT_MOVE = "11a64b61ee124086a827377e8e20723b", "error"
    # they move again
    MOVES_AGAIN = "2b2040427e8f41e9a536622044a6b781", "info"
    # a closed segment is not whole, or its compressed file cannot be read
    SEGMENT_DAMAGED = "bd6c0c7e76f8448d8b8d3fc18eb4b6ba", "error"
    # records of losses cannot be written to the ledger, and wait
    LEDGER_REFUSED = "09e5519f8f06436d8b80767d87aa0869", "error"
    # they are in the ledger
    LEDGER_RECOVERED = "223e156253374760b39a06b8af2bbdf5", "warning"
    # the journal did not take messages for so long that some were given up
    UNSAID = "941029eb9b024e0087bb4f397f662351", "error"
    # something that cannot be
    BUG = "9157c885e4fd401ab485faacaa43c2c1", "error"

    @classmethod
    def of(cls, name: str) -> Kind:
        """The kind of this name; a process of another version may use one that is none here."""
        return cls.__members__.get(name, cls.VERSIONS)

    @property
    def message_id(self) -> str:
        """128 random bits, as systemd writes them (`journalctl MESSAGE_ID=...`)."""
        return self.value[0]

    @property
    def level(self) -> str:
        """`info`, `warning` or `error`."""
        return self.value[1]
