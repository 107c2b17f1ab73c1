"""One thin task a step: retries, time limits and names around one call into marketlake."""

import logging
import os

from marketlake.logs import protect
from marketlake.settings_text import SECRETS

# A flow run's process has Prefect's logging and not ours; its secrets are kept out of either.
protect([os.environ[name] for name in SECRETS if os.environ.get(name)])

# Prefect forwards a logger only from the level that it has; the root's WARNING would drop what a run did.
logging.getLogger("marketlake").setLevel(logging.INFO)
