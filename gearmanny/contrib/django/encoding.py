"""JSON as Django writes it: dates, times, decimals, UUIDs and lazy texts, as strings."""

from django.core.serializers.json import DjangoJSONEncoder

from gearmanny.vocabulary.encoders import JSONDataEncoder
from gearmanny.worker import JsonWorker


class DjangoJSONDataEncoder(JSONDataEncoder):
    """Encodes what `DjangoJSONEncoder` does. They arrive as the strings that it makes."""

    json_encoder = DjangoJSONEncoder


class DjangoJsonWorker(JsonWorker):
    """What `runworkers` uses for workers that chose no `work_class` of their own."""

    data_encoder = DjangoJSONDataEncoder
