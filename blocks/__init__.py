"""Credentials and addresses: who we are at the vendor, where the lake is, whom we tell."""

from blocks.lake import Lake
from blocks.polygon import PolygonCredentials
from blocks.slack import SlackAlerts

__all__ = ["Lake", "PolygonCredentials", "SlackAlerts"]
