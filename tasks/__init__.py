"""One thin task a step: retries, time limits and names around one call into marketlake."""

import logging

# Prefect forwards a logger only from the level that it has; the root's WARNING would drop what a run did.
logging.getLogger("marketlake").setLevel(logging.INFO)
# It tells of each temporary folder that it makes.
logging.getLogger("great_expectations").setLevel(logging.WARNING)
