from django.db import models

MODELS = 15


class Written(models.Model):
    """What a task of the benchmarks writes."""

    value = models.IntegerField()

    class Meta:
        app_label = "shop"

    def __str__(self):
        return str(self.value)


def product(number):
    """Returns a model that refers to the one before it."""
    fields = {
        "name": models.CharField(max_length=100, db_index=True),
        "price": models.DecimalField(max_digits=9, decimal_places=2, default=0),
        "made": models.DateTimeField(auto_now_add=True),
    }
    if number:
        fields["other"] = models.ForeignKey(f"shop.Model{number - 1}", models.CASCADE)
    return type(f"Model{number}", (models.Model,), {"__module__": __name__, **fields})


PRODUCTS = [product(number) for number in range(MODELS - 1)]
