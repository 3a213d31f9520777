"""Between protobuf and the domain: every request is read and checked here, every answer written here."""
