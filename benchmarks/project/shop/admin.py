from django.contrib import admin

from shop import models

for model in (models.Written, *models.PRODUCTS):
    admin.site.register(model)
