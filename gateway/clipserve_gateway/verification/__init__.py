"""`clipserve-gateway verify`: this gateway's pixels and token ids against those that an export recorded."""
