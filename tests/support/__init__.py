"""What the tests share: numbered frames, private networks, judges and waiting."""
