"""Names that old code imports from here."""

from gearmanny.encoding import JSONDataEncoder
from gearmanny.errors import GearmanException
from gearmanny.transport import HOSTS

__all__ = ["HOSTS", "GearmanException", "JSONDataEncoder"]
