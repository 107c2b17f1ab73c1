"""The vendor's WebSocket side: what is subscribed, what is published when, and the connections it goes to."""
