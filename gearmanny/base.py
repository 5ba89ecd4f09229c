"""Names that old code imports from here."""

from gearmanny.errors import GearmanException
from gearmanny.net.hosts import HOSTS
from gearmanny.vocabulary.encoders import JSONDataEncoder

__all__ = ["HOSTS", "GearmanException", "JSONDataEncoder"]
