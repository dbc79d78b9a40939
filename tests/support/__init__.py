"""What several tests share: small models, stored rows, stand-ins, servers."""
